"""What rendered objects must be like, whoever rendered them. Pure: objects in, sentences out; none is good.

Source of "restricted": Pod Security Standards. The rest: issue 8, "Decisions to keep", and docs/operations.md.
"""

RBAC = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"
}  # fmt: skip
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def violations(objects, rbac=False, tokens=()):
    """`rbac`: RBAC kinds were asked for; `tokens`: names of the containers that may hold a token of the account."""
    found = []
    for made in objects:
        kind, name = made["kind"], made["metadata"]["name"]
        where = f"{kind} {name}"
        if kind in RBAC and not rbac:
            found.append(f"{where}: nobody asked for access to the API")
        if kind == "ServiceAccount" and made.get("automountServiceAccountToken") is not False:
            found.append(f"{where}: mounts its token")
        spec = pod_spec(made)
        if spec is not None:
            found += [f"{where}: {what}" for what in of_pod(spec, tokens)]
            claims = [claim["metadata"]["name"] for claim in made["spec"].get("volumeClaimTemplates", [])]
            found += [f"{where}: {what}" for what in unknown_volumes(spec, claims)]
        if kind == "StatefulSet":
            found += [f"{where}: {what}" for what in of_stateful_set(made, objects)]
        if kind == "Service":
            found += [f"{where}: {what}" for what in of_service(made, objects)]
    return found + of_disruption(objects)


def pod_spec(made):
    if made["kind"] == "Pod":
        return made["spec"]
    return made["spec"]["template"]["spec"] if made["kind"] in ("StatefulSet", "Deployment") else None


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def of_pod(spec, tokens):
    """Pod Security "restricted", and what the project adds to it."""
    yield from (f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC", "hostAliases") if spec.get(key))
    if spec.get("automountServiceAccountToken") is not False:
        yield "a token of the account is mounted"
    if spec.get("enableServiceLinks") is not False:
        yield "gets a variable for every Service of the namespace"
    for volume in spec.get("volumes", []):
        yield from (f"volume {volume['name']} is a {kind}" for kind in volume.keys() - VOLUMES - {"name"})
    for container in containers(spec):
        who = container["name"]
        context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        yield from (f"{who}: {what}" for what in unrestricted(context))
        yield from (f"{who}: a port of the host" for port in container.get("ports", []) if "hostPort" in port)
        for mount in container.get("volumeMounts", []):
            if "subPath" in mount:
                yield f"{who}: {mount['mountPath']} is a subPath, which no edit reaches"
            if mount["mountPath"] == TOKEN_PATH and who not in tokens:
                yield f"{who}: a token that nobody asked for"
        if "-config" in str(container.get("args")) and container.get("resources", {}).get("limits", {}).get("cpu"):
            yield f"{who}: a CPU limit: a throttled leader loses its lease"


def unrestricted(context):
    if context.get("privileged"):
        yield "privileged"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may run as root"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    capabilities = context.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "has capabilities"


def unknown_volumes(spec, claims):
    known = {volume["name"] for volume in spec.get("volumes", [])} | set(claims)
    used = {mount["name"] for container in containers(spec) for mount in container.get("volumeMounts", [])}
    yield from (f"volume {name} is mounted and not there" for name in sorted(used - known))
    yield from (f"volume {name} is there and not mounted" for name in sorted(known - used))


def of_stateful_set(made, objects):
    spec, template = made["spec"], made["spec"]["template"]
    if spec.get("podManagementPolicy") != "Parallel":
        yield "its pods wait for each other's readiness, which waits for the group"
    annotations = template["metadata"].get("annotations") or {}
    yield from (f"annotation {key}: an edit restarts pods" for key in annotations if key.startswith("checksum"))
    service = by_name(objects, "Service", spec["serviceName"])
    if service is None:
        yield f"its Service {spec['serviceName']} is not there"
    else:
        yield from not_for_members(service["spec"], template["metadata"]["labels"])
    elector = next((one for one in containers(template["spec"]) if one["name"] == "elector"), None)
    if elector is None:
        yield "no container elector"
        return
    probes = {probe: elector.get(probe, {}).get("httpGet", {}).get("path") for probe in ("readinessProbe", "livenessProbe")}
    if probes != {"readinessProbe": "/_elector/readyz", "livenessProbe": "/_elector/livez"}:
        yield f"elector is probed at {probes}"
    if elector.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [""])[0] != "prometheus-elector":
        yield "elector has no preStop of our own binary"
    if "prometheus" in [one["name"] for one in template["spec"]["containers"]]:
        if template["spec"].get("terminationGracePeriodSeconds", 30) < 300:
            yield "Prometheus has less than 300 s to ship what it holds"
        out = next((one for one in template["spec"]["volumes"] if one["name"] == "out"), {})
        if out.get("emptyDir", {}).get("medium") != "Memory":
            yield "the rendered configuration lies on a disk"


def not_for_members(service, labels):
    if service.get("clusterIP") != "None":
        yield "its Service is not headless"
    if service.get("publishNotReadyAddresses") is not True:
        yield "its Service hides members that are not ready"
    if not any(port["name"] == "raft" and port["port"] == 9096 for port in service["ports"]):
        yield "its Service has no port raft: members look up its SRV record"
    if not selects(service["selector"], labels):
        yield "its Service does not select its pods"


def of_service(made, objects):
    spec, sets = made["spec"], [one for one in objects if one["kind"] == "StatefulSet"]
    selected = [one for one in sets if selects(spec["selector"], one["spec"]["template"]["metadata"]["labels"])]
    by_label = "prometheus-elector/role" in spec["selector"]  # which the sidecars set
    if spec.get("clusterIP") != "None" and spec.get("publishNotReadyAddresses"):
        yield "sends clients to pods that are not ready"
    if not selected and not by_label:
        yield "selects no pod"
    for pod in (one for one in objects if one["kind"] == "Pod"):
        if selects(spec["selector"], pod["metadata"].get("labels", {})):
            yield f"selects the pod {pod['metadata']['name']}"
    if made["metadata"]["name"].endswith("-leader") and not by_label:
        if selected != sets:
            yield "does not select all members"
        if {port["targetPort"] for port in spec["ports"]} != {"elector"}:
            yield "does not lead to the proxy"
    for one in selected:
        ports = {port["name"] for box in containers(one["spec"]["template"]["spec"]) for port in box.get("ports", [])}
        if spec.get("clusterIP") == "None":
            continue  # a port leads to those who have it
        wanted = {port.get("targetPort") for port in spec["ports"] if "targetPort" in port}
        yield from (f"port {port} is not in {one['metadata']['name']}" for port in sorted(wanted - ports))


def of_disruption(objects):
    sets = [made for made in objects if made["kind"] == "StatefulSet"]
    budgets = [made for made in objects if made["kind"] == "PodDisruptionBudget"]
    members = sum(made["spec"]["replicas"] for made in sets)
    if members < 2:
        return ["a single member cannot be evicted"] if budgets else []
    if [budget["spec"].get("maxUnavailable") for budget in budgets] != [1]:
        return ["not one PodDisruptionBudget with maxUnavailable 1"]
    selector = budgets[0]["spec"]["selector"]["matchLabels"]
    missed = [one for one in sets if not selects(selector, one["spec"]["template"]["metadata"]["labels"])]
    return [f"the PodDisruptionBudget does not cover {one['metadata']['name']}" for one in missed]


def selects(selector, labels):
    return selector.items() <= labels.items()


def by_name(objects, kind, name):
    return next((made for made in objects if (made["kind"], made["metadata"]["name"]) == (kind, name)), None)
