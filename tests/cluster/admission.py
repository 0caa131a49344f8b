"""Whether the API server admits the examples, and the pods that their workloads make, under Pod Security
"restricted"."""

import subprocess
from collections import Counter

from api import Refused, documents


class Examples:
    """Everything below a folder that comes to manifests: plain ones, kustomizations, and values of the chart."""

    def __init__(self, api, folder, peers, chart):
        self.folder, self.peers, self.chart = folder, peers, chart
        self.version = api.request("GET", "/version")["gitVersion"]

    def manifests(self):
        """Name and text of each."""
        kustomized = {path.parent for path in self.folder.rglob("kustomization.yaml")}
        for folder in sorted(kustomized):
            yield str(folder), self._run("kustomize", "build", "--load-restrictor=LoadRestrictionsNone", folder)
        for path in sorted(self.folder.rglob("*.yaml")):
            if path.name == "values.yaml":
                version = f"--kube-version={self.version}"
                yield str(path), self._run("helm", "template", "example", self.chart, f"--values={path}", version)
            elif path.parent not in kustomized and list(documents(path.read_text())):
                yield str(path), path.read_text()

    def _run(self, program, *arguments):
        command = [self.peers / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{program} {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout


def admit(cluster, manifests):
    """Has every object created as a dry run, and a pod of every workload. Fails at a refusal. The namespaces that the
    manifests name are made for real, and with Pod Security "restricted" whatever they say themselves."""
    api, counts, unknown, namespaces = cluster.api, Counter(), set(), {cluster.api.namespace}
    for name, text in manifests:
        counts["examples"] += 1
        for kind, namespace, document in documents(text):
            if namespace and namespace not in namespaces:
                cluster.create_namespace(namespace)
                namespaces.add(namespace)
            try:
                made = api.create(api.path(kind, namespace=namespace), document, dry_run=True)
                counts["objects"] += 1
                if "template" in made.get("spec", {}):
                    create_pod(api, made)
                    counts["pods"] += 1
            except KeyError:  # a custom resource: tests/chart/crds judges those
                unknown.add(kind)
            except Refused as refused:
                if kind == "Namespace" and refused.code == 409:
                    continue  # another example has it too
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
