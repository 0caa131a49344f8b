# syntax=docker/dockerfile:1
# A static binary in an image that holds nothing else but CA certificates, for amd64 and arm64, both built on the machine's own
# architecture:  docker buildx build --platform linux/amd64,linux/arm64 -t IMAGE .
#
# With a binary at hand (for each platform one) the first stage can be replaced by its folder: --build-context build=DIR, where
# DIR holds prometheus-elector and ca-certificates.crt. `make image` does that.

FROM --platform=$BUILDPLATFORM docker.io/tonistiigi/xx:1.6.1 AS xx

FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-alpine AS compile
# So xx is meant to be used.
# hadolint ignore=DL3067
COPY --from=xx / /
# Versions are those of the Alpine release that the tag above names.
# hadolint ignore=DL3018
RUN apk add --no-cache clang lld musl-dev
WORKDIR /src
COPY . .
ARG TARGETPLATFORM
RUN xx-apk add --no-cache gcc musl-dev
RUN xx-cargo build --locked --release --package prometheus-elector --target-dir /target \
  && mkdir /out \
  && cp "/target/$(xx-cargo --print-target-triple)/release/prometheus-elector" /etc/ssl/certs/ca-certificates.crt /out/ \
  && xx-verify --static /out/prometheus-elector

FROM scratch AS build
COPY --from=compile /out/ /

FROM scratch
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="prometheus-elector" \
  org.opencontainers.image.description="Makes a group of Prometheus replicas act as one, by an embedded Raft group" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION"
COPY --from=build --chmod=0444 /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chmod=0555 /prometheus-elector /usr/local/bin/prometheus-elector
# A binary that does not run on this platform is no image.
RUN ["/usr/local/bin/prometheus-elector", "--version"]
USER 65532:65532
# API and proxy; members of the group among themselves. The port of commands is on the loopback address.
EXPOSE 9095 9096
ENTRYPOINT ["/usr/local/bin/prometheus-elector"]
