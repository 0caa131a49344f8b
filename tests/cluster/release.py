"""A release of the chart: what Helm does with it, and how its pods are seen from outside."""

import os
import subprocess

from member import Member
from world import eventually

HELM_SECONDS_MAX = 240


class Release:
    """Release `name` of the chart in the folder `chart`, installed with these values (YAML) and changed by the program
    `helm`."""

    def __init__(self, cluster, helm, chart, name, values):
        self.cluster, self.api, self.helm_program, self.chart, self.name = cluster, cluster.api, helm, chart, name
        self.full_name = f"{name}-prometheus-elector"
        self.values = cluster.dir / f"{name}-values.yaml"
        self.values.write_text(values)

    def helm(self, *arguments):
        folder = str(self.cluster.dir / "helm")
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "KUBECONFIG": str(self.cluster.kubeconfig)}
        command = [self.helm_program, "--namespace", self.api.namespace, *map(str, arguments)]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"helm {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done.stdout

    def install(self):
        """Returns once every pod is ready."""
        self.helm("install", self.name, self.chart, "-f", self.values, "--wait", f"--timeout={HELM_SECONDS_MAX}s")

    def upgrade(self, *settings):
        """Changes values: "replicaCount=3". Returns at once."""
        words = [word for setting in settings for word in ("--set", setting)]
        self.helm("upgrade", self.name, self.chart, "--reuse-values", *words)

    def uninstall(self):
        """And waits for the pods to be gone."""
        self.helm("uninstall", self.name)
        eventually("all pods are gone", HELM_SECONDS_MAX, lambda: not self.pods())

    def pods(self):
        """Pod objects by name, also those that are about to end."""
        query = f"?labelSelector=app.kubernetes.io/instance%3D{self.name},app.kubernetes.io/component"
        return {pod["metadata"]["name"]: pod for pod in self.api.list("Pod", query)}

    def uids(self):
        return {name: pod["metadata"]["uid"] for name, pod in self.pods().items()}

    def members(self, component=None):
        """Those that are not about to end, as they are seen from outside; only the replicas, or only the witness, by
        choice."""
        pods = [pod for pod in self.pods().values() if "deletionTimestamp" not in pod["metadata"]]
        wanted = [pod for pod in pods if component in (None, pod["metadata"]["labels"]["app.kubernetes.io/component"])]
        return [Member(pod["metadata"]["name"], pod["status"].get("podIP", "no address yet")) for pod in wanted]

    def replicas(self):
        return self.members("replica")

    def is_ready(self):
        """Whether both StatefulSets are at rest: every pod there, of the newest revision, and ready."""
        return all(self._is_at_rest(name) for name in (self.full_name, f"{self.full_name}-witness"))

    def _is_at_rest(self, name):
        stateful_set = self.api.get("StatefulSet", name)
        spec, status = stateful_set["spec"], stateful_set["status"]
        counts = [status.get(count, 0) for count in ("replicas", "readyReplicas", "updatedReplicas")]
        seen = status.get("observedGeneration") == stateful_set["metadata"]["generation"]
        return seen and counts == [spec["replicas"]] * 3 and status["currentRevision"] == status["updateRevision"]
