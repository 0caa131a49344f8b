"""Runs the steps of a scenario one after the other, and tells what came of each."""

import argparse
import time
from pathlib import Path

from world import World


def main(doc, make, steps):
    """`make(world, peers, elector)` is what the steps are called with. Returns the exit code."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--peers", required=True, help="folder with etcd, kube-apiserver, coredns, prometheus")
    parser.add_argument("--elector", required=True, help="the prometheus-elector binary")
    arguments = parser.parse_args()
    passed = 0
    try:
        with World() as world:
            scenario = make(world, Path(arguments.peers).resolve(), Path(arguments.elector).resolve())
            for step in steps:
                name = step.__name__.replace("_", " ")
                start = time.monotonic()
                try:
                    report = step(scenario)
                except Exception as error:
                    print(f"FAILED  {name}\n  {type(error).__name__}: {error}", flush=True)
                    show_logs(world, scenario.cluster.namespace)
                    raise
                passed += 1
                took = f"{time.monotonic() - start:.1f} s"
                print(f"ok      {name} ({took}{': ' + report if report else ''})", flush=True)
    except Exception:
        print(f"\n{passed} passed, 1 failed, {len(steps) - passed - 1} skipped")
        return 1
    print(f"\n{passed} passed, 0 failed")
    return 0


def show_logs(world, control_plane):
    for process in world.processes:
        state = "running" if process.alive else f"ended with {process.popen.returncode}"
        lines = 5 if process.namespace == control_plane else 25
        print(f"  {process.name} ({state}):\n{process.tail(lines)}", flush=True)
