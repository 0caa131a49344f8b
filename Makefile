# The commands of every day; `make help` lists them. `make test` is what CI runs.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/prometheus-elector
PEERS := $(CACHE)/peers
CARGO_DENY := $(CACHE)/tools/bin/cargo-deny
CARGO_FUZZ := $(CACHE)/tools/bin/cargo-fuzz
TARGET = $(shell cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# Black-box tests start whole groups with real Prometheus: more at once than there are cores only makes them late.
TEST_THREADS ?= 2
# The simulation has profiles of its own: fast, and for long soaks faster still, but slow to build (PROFILE=soak).
PROFILE ?= sim
SIM = --profile $(PROFILE) --package elector-raft-sim
NO_SIM = --exclude elector-raft-sim
SEEDS ?= 2000
FROM ?= 1
MUSL = $(shell uname -m)-unknown-linux-musl
IMAGE ?= localhost/prometheus-elector:dev
# Where runs of the chaos harness are written.
CHAOS = $(TARGET)/chaos
# Extra arguments of demo and benchmark, e.g. `make demo ARGS=--keep`.
ARGS ?=

# fuzz DIRECTORY TARGET SEEDS. No sanitizer: the code has no unsafe block. What was found before is tried first: the corpus is
# kept in the cache.
define fuzz
mkdir -p $(CACHE)/fuzz/$(2) $(TARGET)/fuzz/artifacts/$(2)
CARGO_TARGET_DIR=$(TARGET)/fuzz RUSTUP_TOOLCHAIN=nightly $(CARGO_FUZZ) fuzz run --fuzz-dir $(1) --sanitizer none $(2) \
  $(CACHE)/fuzz/$(2) $(3) -- -artifact_prefix=$(TARGET)/fuzz/artifacts/$(2)/ \
  -max_total_time=60 -timeout=30 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 $(ARGS)
endef

.PHONY: help demo test test-unit test-sim test-blackbox test-chart chart-readme test-cluster image soak mutants chaos test-chaos bench fuzz lint deny setup

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Three members; a sidecar killed; the remote away and a leader killed meanwhile; ARGS=--keep leaves it running.
	@tests/setup/tools rust prometheus
	@# A debug build: a fresh machine has it in a third of the time, and a takeover does not wait for the processor.
	cargo build --locked --workspace $(NO_SIM)
	$(TARGET)/debug/demo $(ARGS)

test: setup lint test-unit test-sim test-blackbox test-chart test-chaos deny ## Everything that CI runs; installs what it needs.
	@echo "make test: format, clippy, docs, unit tests, simulation, black-box tests, chart, chaos and dependency rules are done."

setup:
	@tests/setup/tools rust prometheus

lint: ## Format, the rules of this repository, clippy and rustdoc, with every warning an error.
	cargo fmt --all --check
	cargo test --locked --package prometheus-elector --test tidy
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@# Without kube: the flag that needs it is refused.
	cargo clippy --locked --package prometheus-elector --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items

test-unit: ## Tests inside the crates, and those in documentation.
	cargo test --locked --workspace $(NO_SIM) --lib --bins
	cargo test --locked --workspace $(NO_SIM) --doc

test-sim: ## The election group under simulation: a fixed set of seeds, replay, a mutant.
	cargo test --locked $(SIM) --test '*'

soak: ## More of it on all cores; SEEDS=n FROM=first; PROFILE=soak for hours of it.
	cargo run --locked $(SIM) -- soak --seeds $(SEEDS) --from $(FROM)

mutants: ## Switches each rule of the group off and counts the seeds until a checker notices; fails if one survives.
	cargo run --locked $(SIM) -- mutants

test-blackbox: ## The real binary, Prometheus and Chromium; PROMETHEUS=path, CHROMIUM=path: with that one.
	@tests/setup/tools prometheus chromium
	cargo build --locked --workspace $(NO_SIM)
	cargo test --locked --workspace $(NO_SIM) --test '*' -- --test-threads=$(TEST_THREADS)

# Helm programs render beside the library where test-cluster has built them.
CHECK_CHART = $(CACHE)/venv/bin/python tests/chart/check --elector $(TARGET)/debug/prometheus-elector \
  --helm $(PEERS)/helm --helm $(PEERS)/helm4

test-chart: ## Chart and examples without a cluster: rendered by Helm, held against schemas, policy and the sidecar's own flags.
	@tests/setup/tools python
	cargo build --locked --workspace $(NO_SIM)
	$(CHECK_CHART) --custom-resources $(TARGET)/custom-resources.yaml
	$(CACHE)/venv/bin/python tests/chart/examples --elector $(TARGET)/debug/prometheus-elector
	$(CACHE)/venv/bin/python tests/chart/crds $(TARGET)/custom-resources.yaml

chart-readme: ## Writes the table of values into chart/README.md.
	@tests/setup/tools python
	cargo build --locked --workspace $(NO_SIM)
	$(CHECK_CHART) --update

deny: ## Licences, sources and bans of the dependencies.
	@tests/setup/tools deny
	@# Not advisories: their database is on a git host that CI cannot reach. Where it can: `cargo deny check advisories`.
	$(CARGO_DENY) --locked check bans licenses sources
	@echo "Security advisories were NOT checked here (see CONTRIBUTING.md)."

test-cluster: ## Real Kubernetes control plane: cluster DNS alone, the label of the leader, the chart, chaos; hosts without Kubernetes (root, Go).
	@tests/setup/tools cluster python
	tests/cluster/peers $(PEERS)
	cargo build --locked --workspace $(NO_SIM)
	tests/cluster/run --peers $(PEERS) --elector $(TARGET)/debug/prometheus-elector
	tests/cluster/leader_label --peers $(PEERS) --elector $(TARGET)/debug/prometheus-elector
	@# The chart's updates wait most of the time: chaos fits beside them.
	{ tests/cluster/own --peers $(PEERS) --elector $(TARGET)/debug/prometheus-elector --jepsen $(TARGET)/debug/jepsen && \
	    $(TARGET)/debug/jepsen run --on control-plane --peers $(PEERS) --minutes 1 --seed 1 --out $(CHAOS)-control-plane \
	      --nemesis node-lost --nemesis kill-both --nemesis api-down; } >$(CHAOS)-cluster.log 2>&1 & chaos=$$!; \
	  tests/cluster/chart --peers $(PEERS) --elector $(TARGET)/debug/prometheus-elector || failed=1; \
	  wait $$chaos || failed=1; cat $(CHAOS)-cluster.log; [ -z "$${failed:-}" ]
	$(CACHE)/venv/bin/python tests/cluster/hosts --peers $(PEERS) --elector $(TARGET)/debug/prometheus-elector

image: ## A static binary, its sizes, and with docker or buildah the image around it (IMAGE=name).
	@tests/setup/tools rust musl
	cargo build --locked --release --package prometheus-elector --target $(MUSL)
	tests/setup/image $(TARGET)/$(MUSL)/release/prometheus-elector $(IMAGE)

# HOURS wins over MINUTES. A failing run is repeated with the SEED that it printed.
MINUTES ?= 10
# Where: namespaces, or a Kubernetes control-plane.
ON ?= namespaces
chaos: ## Breaks a real deployment and judges what happened: MINUTES=10, HOURS=n, SEED=n, ON=control-plane, ARGS='--members 5' (root).
	@tests/setup/tools rust prometheus chaos $(if $(filter control-plane,$(ON)),cluster)
	$(if $(filter control-plane,$(ON)),tests/cluster/peers $(PEERS))
	cargo build --locked --workspace $(NO_SIM)
	$(TARGET)/debug/jepsen run --on $(ON) $(if $(filter control-plane,$(ON)),--peers $(PEERS)) \
	  --minutes $(if $(HOURS),$$(($(HOURS) * 60)),$(MINUTES)) $(if $(SEED),--seed $(SEED)) --out $(CHAOS) $(ARGS)

test-chaos: ## A minute of it, where network namespaces can be made.
	@if [ "$$(id -u)" = 0 ] && unshare --net true 2>/dev/null; then \
	  $(MAKE) --no-print-directory chaos MINUTES=1 SEED=1 ARGS='--nemesis kill-both --nemesis isolate-leader'; \
	else \
	  echo "NOT RUN: the chaos harness. It needs root and network namespaces."; \
	fi

bench: ## Takeover times, footprint, the gate on and off, the proxy beside nginx; ARGS='--only gaps' only a part.
	@tests/setup/tools prometheus bench
	cargo build --locked --release --package prometheus-elector
	cargo build --locked --workspace $(NO_SIM)
	PROMETHEUS_ELECTOR_BIN=$(TARGET)/release/prometheus-elector $(TARGET)/debug/bench $(ARGS)

fuzz: ## Malformed messages, source files and remote writes, a minute each; ARGS=-max_total_time=3600 longer (nightly Rust).
	@tests/setup/tools fuzz
	$(call fuzz,raft/fuzz,messages,raft/tests/wire)
	$(call fuzz,tests/fuzz,source,tests/render/corpus)
	$(call fuzz,tests/fuzz,remote_write,tests/fuzz/seeds/remote_write)