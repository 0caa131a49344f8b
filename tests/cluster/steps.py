"""How a scenario is performed: one step after the other, a line for each; the first failure ends it and shows the
logs."""

import argparse
import time
from pathlib import Path

from world import World, tail

LOG_SECONDS = 90  # of a failed run those logs are shown that were written to within this time


def main(doc, make, steps, **folders):
    """Makes `make(world, peers, elector)`, whose steps these are, and performs them. `folders` are options of this one
    scenario with their defaults, and more arguments of `make`. Returns the exit code."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--peers", required=True, type=Path, help="folder with what tests/cluster/peers builds")
    parser.add_argument("--elector", required=True, type=Path, help="the prometheus-elector binary")
    for name, default in folders.items():
        parser.add_argument(f"--{name}", default=default, type=Path)
    arguments = {name: path.resolve() for name, path in vars(parser.parse_args()).items()}
    passed = 0
    try:
        with World() as world:
            scenario = make(world, **arguments)
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
    """The last lines of every program that said something lately; of the control plane a few."""
    last = {process.log: process for process in world.processes}  # a restarted program goes on with its log
    for log, process in last.items():
        if log.stat().st_mtime > time.time() - LOG_SECONDS:
            state = "running" if process.alive else f"ended with {process.popen.returncode}"
            lines = 5 if process.namespace == control_plane else 25
            print(f"  {process.name} ({state}):\n{process.tail(lines)}", flush=True)
    for log in set(world.dir.glob("*.log")) - last.keys():  # a node's own notes
        print(f"  {log.stem}:\n{tail(log, 25)}", flush=True)
