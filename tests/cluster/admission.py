"""Whether the API server admits the examples, and the pods that their workloads make, under Pod Security
"restricted"."""

import subprocess
from collections import Counter

from api import Refused, documents
from world import eventually


class Examples:
    """Everything below a folder that comes to manifests: plain ones, kustomizations, and values of the chart."""

    def __init__(self, folder, peers, chart):
        self.folder, self.peers, self.chart = folder, peers, chart

    def manifests(self):
        """Name and text of each."""
        kustomized = {path.parent for path in self.folder.rglob("kustomization.yaml")}
        for folder in sorted(kustomized):
            yield str(folder), self._run("kustomize", "build", "--load-restrictor=LoadRestrictionsNone", folder)
        for path in sorted(self.folder.rglob("*.yaml")):
            if path.name == "values.yaml":
                yield str(path), self._run("helm", "template", "example", self.chart, "-f", path)
            elif path.parent not in kustomized and list(documents(path.read_text())):
                yield str(path), path.read_text()

    def _run(self, program, *arguments):
        command = [self.peers / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{program} {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout


def admit(api, manifests):
    """Has every object created as a dry run, and a pod of every workload; namespaces for real. Fails at a refusal."""
    counts, unknown = Counter(), set()
    for name, text in manifests:
        counts["examples"] += 1
        for kind, namespace, document in documents(text):
            try:
                path = api.path(kind, namespace=namespace)
            except KeyError:  # a custom resource: tests/chart/crds judges those
                unknown.add(kind)
                continue
            try:
                made = api.create(path, document, dry_run=kind != "Namespace")
                if kind == "Namespace":
                    account = made["metadata"]["name"]
                    eventually(f"{account} has its account", 30, lambda: api.get("ServiceAccount", "default", account))
                counts["objects"] += 1
                if "template" in made.get("spec", {}):
                    create_pod(api, made)
                    counts["pods"] += 1
            except Refused as refused:
                raise AssertionError(f"{name}: {kind}: {refused}") from None
    return counts, unknown


def create_pod(api, workload, **overrides):
    """Has a pod of a workload's template judged, with the volumes that the StatefulSet controller would add."""
    template = workload["spec"]["template"]
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    spec = {**template["spec"], "volumes": template["spec"].get("volumes", []) + volumes}
    # Its own account is not there after a dry run.
    spec |= {"serviceAccountName": "default", "serviceAccount": "default", **overrides}
    pod = {"metadata": {"name": "judged", "labels": template["metadata"]["labels"]}, "spec": spec}
    path = api.path("Pod", namespace=workload["metadata"]["namespace"]) + "?dryRun=All"
    api.request("POST", path, pod)
