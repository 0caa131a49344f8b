"""One container of a pod: its process, probes, restarts, and its end. What the kubelet and its container runtime do."""

import contextlib
import os
import signal
import subprocess
import threading
import time

from probes import Probe, attempt
from sandbox import init_of, program_of

TICK_SECONDS = 0.05
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 10, 300  # the kubelet's own; the first restart comes at once


class Container:
    """Runs in a thread of its own, because a process dies with the thread that started it.

    creating ──► running ──► terminated            (its policy wants no restart, or the pod is ending)
                    ▲ └──► waiting (back-off) ──┐
                    └───────────────────────────┘
    """

    def __init__(self, node, name, spec, policy, sandbox):
        self.node, self.full_name, self.spec, self.policy, self.sandbox = node, name, spec, policy, sandbox
        self.address = sandbox.network.address
        self.process = self.pid = self.code = None
        self.ready = self.started = self.finished = False
        self.restarts, self.state, self.last_state = 0, {"waiting": {"reason": "ContainerCreating"}}, {}
        self.ending, self.starting = threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self):
        self.thread.start()

    def _run(self):
        try:
            self._run_as_often_as_wanted()
        except Exception as error:
            self.node.fail(f"{self.full_name}: {type(error).__name__}: {error}")
        self.finished = True

    def _run_as_often_as_wanted(self):
        while not self.ending.is_set():
            self._run_once()
            if self.ending.is_set() or self.policy == "Never" or self.policy == "OnFailure" and self.code == 0:
                break
            self.last_state, self.state = self.state, {"waiting": {"reason": "CrashLoopBackOff"}}
            self.node.note(f"{self.full_name} ended with {self.code}")
            self.ending.wait(backoff_seconds(self.restarts))
            self.restarts += 1

    def _run_once(self):
        """From the start of the process to its end."""
        with self.starting:  # else one whose end is ordered now would start unseen
            if self.ending.is_set():
                return
            self._spawn()
        began = now()
        self.state = {"running": {"startedAt": began}}
        kinds = ("startupProbe", "readinessProbe", "livenessProbe")
        probes = {kind: Probe(self.spec[kind], time.monotonic()) for kind in kinds if kind in self.spec}
        self.started = "startupProbe" not in probes
        while self.process.alive:
            self._probe(probes)
            time.sleep(TICK_SECONDS)
        self.code = self.process.popen.returncode
        self.ready = self.started = False
        ended = {"exitCode": self.code, "startedAt": began, "finishedAt": now()}
        self.state = {"terminated": {**ended, "reason": "Completed" if self.code == 0 else "Error"}}

    def _spawn(self):
        read, write = os.pipe()
        command = self.sandbox.start(write)
        self.process = self.node.world.spawn(self.full_name, self.sandbox.network.namespace, command, inherit=[write])
        os.close(write)
        init, self.pid = init_of(read), None
        while init and not self.pid and self.process.alive:
            self.pid = program_of(init)
            time.sleep(0.005)

    def _probe(self, probes):
        """Startup first and alone; then readiness, also while the pod ends, and liveness, but not then."""
        if not self.started:
            probe = probes["startupProbe"]
            probe.poll(self)
            self.started = probe.result is True
        else:
            if readiness := probes.get("readinessProbe"):
                readiness.poll(self)
            self.ready = readiness is None or readiness.result is True
            probe = probes.get("livenessProbe")
            if probe and not self.ending.is_set():
                probe.poll(self)
        if probe and probe.result is False and not self.ending.is_set():
            self.node.note(f"{self.full_name}: the {'liveness' if self.started else 'startup'} probe failed")
            self._terminate(time.monotonic() + 30)

    def stop(self, deadline, after=()):
        """Ends it for good: `_terminate`, once the containers `after` have ended."""
        with self.starting:
            self.ending.set()
        self._terminate(deadline, after)
        self.thread.join()

    def _terminate(self, deadline, after=()):
        """The hook at once, then SIGTERM once those of `after` have ended, and SIGKILL at the deadline."""
        if (hook := self.spec.get("lifecycle", {}).get("preStop")) and self.process and self.process.alive:
            left = max(deadline - time.monotonic(), 0)
            if "sleep" in hook:
                time.sleep(min(hook["sleep"]["seconds"], left))
            elif not attempt(hook, self, left):
                self.node.fail(f"{self.full_name}: preStop failed")
        for other in after:
            other.thread.join(max(deadline - time.monotonic(), 0))
        self.signal(signal.SIGTERM)
        while self.process and self.process.alive and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
        if self.process and self.process.alive:
            self.node.note(f"{self.full_name} outlived its grace period")
            self.process.kill()

    def signal(self, number):
        """To the program itself, not to the sandbox around it."""
        if self.process and self.process.alive and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        """SIGKILL, without a word before."""
        with self.starting:
            self.ending.set()
        if self.process:
            self.process.kill()

    def execute(self, command, seconds=10):
        """Runs one more program in the container, as `kubectl exec` does, and returns what `subprocess.run` does."""
        words, environment = self.sandbox.inside(self.pid, command)
        try:
            done = subprocess.run(
                words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, -1, "", f"not within {seconds} s")
        if done.returncode != 0:
            self.node.note(f"{self.full_name}: {' '.join(command)}: {done.returncode} {done.stderr.strip()}")
        return done

    def status(self):
        """Its entry in the pod's containerStatuses."""
        done = self.finished and self.code == 0  # an init container that has done its work counts as ready
        return {
            **{"name": self.spec["name"], "image": self.spec["image"], "imageID": ""},
            **{"ready": self.ready or done, "started": self.started, "restartCount": self.restarts},
            **{"state": self.state, "lastState": self.last_state},
        }


def backoff_seconds(restarts):
    """How long a container waits that has been restarted this often."""
    return min(BACKOFF_SECONDS * 2 ** (restarts - 1), BACKOFF_SECONDS_MAX) if restarts else 0


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
