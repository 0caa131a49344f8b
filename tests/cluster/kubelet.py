"""A pod on a node, from the moment it is bound until its object is deleted: what a kubelet does with it.

    volumes ──► init containers, one after the other ──► containers ──► (deletion) hooks, SIGTERM, SIGKILL ──► gone

The object is the only order it takes, status reports the only thing it tells. While the API server is away it goes on.
"""

import http.client
import re
import shutil
import threading
import time

from api import Refused
from cluster import GATEWAY
from container import Container, now
from network import PodNetwork
from sandbox import Sandbox
from volumes import NotThere, Volumes, read_data

TICK_SECONDS = 0.1
VOLUMES_SECONDS = 1  # a kubelet takes up to a minute or two to see a changed Secret
UNREACHABLE = (OSError, http.client.HTTPException)


class Pod:
    """Runs in threads of its own from `start` on. `number` is unique in the run."""

    def __init__(self, node, pod, number):
        self.node, self.object, self.spec = node, pod, pod["spec"]
        self.name, self.namespace, self.uid = (pod["metadata"][key] for key in ("name", "namespace", "uid"))
        self.api, self.folder = node.api, node.world.dir / f"pod{number}"
        self.network = PodNetwork(node.world, f"pod{number}")
        self.address = f"10.244.{1 + number // 250}.{1 + number % 250}"
        self.hostname = self.spec.get("hostname", self.name)
        names = [self.hostname]
        if subdomain := self.spec.get("subdomain"):
            names.insert(0, f"{self.hostname}.{subdomain}.{self.namespace}.svc.cluster.local")
        self.network.configure(self.address, names, self.namespace)
        self.volumes = Volumes(node.api, pod, self.folder, node.claims, self.field)
        self.init, self.main = [], []  # containers that were begun
        self.grace = None  # seconds, once its end is ordered
        self.ending, self.killed = threading.Event(), threading.Event()
        self.waited_for, self.reported, self.transitions, self.refreshed = None, None, {}, 0
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self):
        self.thread.start()

    def end(self, grace):
        """Orders its end, within `grace` seconds."""
        self.grace = grace
        self.ending.set()

    def kill(self):
        """As when the node loses its power: nothing is told to anybody. Returns when all is gone."""
        self.killed.set()
        self.ending.set()
        for container in self.init + self.main:
            container.kill()
        self.thread.join()

    def _run(self):
        try:
            self._live()
            if not self.killed.is_set():
                self._terminate()
                self._until(self._is_deleted, self.killed)
        except Exception as error:
            self.node.fail(f"{self.name}: {type(error).__name__}: {error}")
        finally:
            for container in self.init + self.main:
                container.kill()
                container.thread.join()
            self.network.remove()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _live(self):
        """Until its end is ordered."""
        if not self._until(self._volumes_are_there):
            return
        policy = self.spec.get("restartPolicy", "Always")
        for spec in self.spec.get("initContainers", []):
            stays = spec.get("restartPolicy") == "Always"  # a native sidecar
            once = "Never" if policy == "Never" else "OnFailure"
            container = self._begin(spec, "Always" if stays else once, self.init)
            if not self._until(lambda: container.started if stays else container.finished and container.code == 0):
                return
        for spec in self.spec["containers"]:
            self._begin(spec, policy, self.main)
        if self._until(lambda: all(container.finished for container in self.main)):
            self._stop(self.init, self.spec["terminationGracePeriodSeconds"])  # native sidecars
            self._until(lambda: False)

    def _begin(self, spec, policy, containers):
        etc = self.node.etc
        programs, mounts = self.node.programs, self.volumes.paths
        sandbox = Sandbox(spec, self.spec, self.hostname, self._environment(spec), programs, mounts, self.network, etc)
        container = Container(self.node, f"{self.name}.{spec['name']}", spec, policy, sandbox)
        containers.append(container)
        container.start()
        return container

    def _until(self, condition, unless=None):
        """Keeps status and volumes up to date until `condition()`. False if an end (or `unless`) comes first."""
        unless = unless or self.ending
        while not unless.is_set():
            try:
                if condition():
                    return True
                self._report()
                if time.monotonic() > self.refreshed + VOLUMES_SECONDS and self.main:
                    self.refreshed = time.monotonic()
                    self.volumes.refresh()
            except UNREACHABLE:
                pass
            except Refused as refused:
                self.node.note(f"{self.name}: {refused}")
            unless.wait(TICK_SECONDS)
        return False

    def _volumes_are_there(self):
        try:
            self.volumes.prepare()
            return True
        except NotThere as missing:
            if str(missing) != self.waited_for:
                self.waited_for = str(missing)
                self.node.note(f"{self.name} waits for {missing}")
            return False

    def _terminate(self):
        self._stop(self.main + self.init, self.grace)

    def _stop(self, containers, grace):
        """Ends these all at once; but a native sidecar ends only after the containers that were begun after it."""
        deadline, begun = time.monotonic() + grace, self.init + self.main
        threads = []
        for container in containers:
            after = begun[begun.index(container) + 1 :] if container in self.init else []
            threads.append(threading.Thread(target=container.stop, args=(deadline, after), daemon=True))
        for thread in threads:
            thread.start()
        self._until(lambda: not any(thread.is_alive() for thread in threads), self.killed)

    def _is_deleted(self):
        """Deletes the object, as the last word on the pod."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        try:
            self.api.request("DELETE", self.api.path("Pod", self.name, self.namespace), body)
        except Refused as refused:
            if refused.code not in (404, 409):  # it is gone, or another one has its name
                raise
        return True

    def _report(self):
        """Tells the API server how the pod is, if that has changed. Another pod of this name would refuse by its
        uid."""
        status = self._status()
        if status != self.reported:
            change = {"metadata": {"uid": self.uid}, "status": status}
            try:
                self.api.patch("Pod", self.name, change, self.namespace, "/status")
            except Refused as refused:
                if refused.code not in (404, 409):
                    raise
            self.reported = status

    def _status(self):
        started = len(self.main) == len(self.spec["containers"])
        codes = [container.code for container in self.main if container.finished]
        phase = "Running" if started else "Pending"
        if started and len(codes) == len(self.main) and not self.ending.is_set():
            phase = "Failed" if any(codes) else "Succeeded"
        ready = started and all(c.ready for c in self.main + [c for c in self.init if c.policy == "Always"])
        conditions = {"PodScheduled": True, "Initialized": started, "ContainersReady": ready, "Ready": ready}
        for kind, value in conditions.items():
            if self.transitions.get(kind, (None,))[0] != value:
                self.transitions[kind] = (value, now())
        return {
            "phase": phase,
            "hostIP": GATEWAY,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self.object["metadata"]["creationTimestamp"],
            "initContainerStatuses": [container.status() for container in self.init],
            "containerStatuses": [container.status() for container in self.main],
            "conditions": [
                {"type": kind, "status": str(value), "lastTransitionTime": at}
                for kind, (value, at) in self.transitions.items()
            ],
        }

    def _environment(self, spec):
        """Variables of a container, complete."""
        if "envFrom" in spec:
            raise ValueError(f"this node knows no envFrom: {spec['envFrom']}")
        found = {"KUBERNETES_SERVICE_HOST": GATEWAY, "KUBERNETES_SERVICE_PORT": "6443"}
        for variable in spec.get("env", []):
            value, source = variable.get("value", ""), variable.get("valueFrom", {})
            if "fieldRef" in source:
                value = self.field(source["fieldRef"]["fieldPath"])
            elif source:
                kind = "Secret" if "secretKeyRef" in source else "ConfigMap"
                key = source["secretKeyRef"] if kind == "Secret" else source["configMapKeyRef"]
                value = read_data(self.api.get(kind, key["name"], self.namespace))[key["key"]].decode()
            found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found.get(name[1], name[0]), value)
        return found

    def field(self, path):
        """A field of the pod, for variables and downwardAPI volumes."""
        if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
            return self.object["metadata"].get(keyed[1], {}).get(keyed[2], "")
        if path in ("status.podIP", "status.hostIP"):
            return self.address if path == "status.podIP" else GATEWAY
        found = self.object
        for part in path.split("."):
            found = found[part]
        return found
