"""Nodes without a container engine, and what binds pods to them. A node follows the API: it starts the pods that are
bound to it and ends those that are deleted. Several may run, each by its name; what the node cannot do is an error that
fails the test."""

import threading
import time

from api import Refused
from cluster import GATEWAY
from kubelet import UNREACHABLE, Pod
from sandbox import ETC

POLL_SECONDS = 0.1


class Follower:
    """Lists pods again and again and acts on the list, in a thread. An API server that is away is waited for."""

    def __init__(self, api, fields):
        self.api = api
        self.path = f"/api/v1/pods?fieldSelector={fields}"
        self.errors = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def start(self):
        self.thread.start()

    def _follow(self):
        while not self.stopping.wait(POLL_SECONDS):
            try:
                self.act(self.api.request("GET", self.path)["items"])
            except (*UNREACHABLE, Refused):
                pass
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def stop(self):
        self.stopping.set()
        self.thread.join()


class Scheduler(Follower):
    """Binds each new pod to the node that `choose(pod)` names; None leaves it pending."""

    def __init__(self, api, choose):
        super().__init__(api, "spec.nodeName%3D")
        self.choose = choose

    def act(self, pods):
        for pod in pods:
            if node := self.choose(pod):
                name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
                binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
                self.api.request("POST", self.api.path("Pod", name, namespace) + "/binding", binding)


class Node(Follower):
    """Node `name`. `programs` maps what an image's name contains to a program; `numbers` counts the pods of all
    nodes."""

    def __init__(self, world, api, name, programs, numbers):
        super().__init__(api, f"spec.nodeName%3D{name}")
        self.world, self.name, self.programs, self.numbers = world, name, programs, numbers
        self.log = world.dir / f"{name}.log"
        self.claims = world.dir / "claims"  # like a disk in the network: any node finds it
        self.etc = world.dir / "etc"
        self.etc.mkdir(exist_ok=True)
        for file, content in ETC.items():
            (self.etc / file).write_text(content)
        self.pods = {}

    def start(self):
        """Registers the node, and follows."""
        labels = {"kubernetes.io/hostname": self.name}
        self.api.request("POST", self.api.path("Node"), {"metadata": {"name": self.name, "labels": labels}})
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it runs"}
        status = {"conditions": [ready], "addresses": [{"type": "InternalIP", "address": GATEWAY}]}
        self.api.patch("Node", self.name, {"status": status}, part="/status")
        super().start()

    def act(self, pods):
        for pod in pods:
            uid, metadata = pod["metadata"]["uid"], pod["metadata"]
            if uid not in self.pods:
                self.pods[uid] = Pod(self, pod, next(self.numbers))
                self.pods[uid].start()
            if "deletionTimestamp" in metadata and not self.pods[uid].ending.is_set():
                self.pods[uid].end(metadata["deletionGracePeriodSeconds"])
        listed = {pod["metadata"]["uid"] for pod in pods}
        for uid in set(self.pods) - listed:  # deleted by force, or we did it ourselves
            if not self.pods[uid].ending.is_set():
                self.pods[uid].end(2)
            if not self.pods[uid].thread.is_alive():
                del self.pods[uid]

    def stop(self):
        """Ends the node and all its pods as a power failure does."""
        super().stop()
        for pod in list(self.pods.values()):
            pod.kill()

    def fail(self, text):
        self.errors.append(text)
        self.note(text)

    def note(self, text):
        """A line for whoever reads the log of a failed run."""
        with self.log.open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")
