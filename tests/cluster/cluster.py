"""A real Kubernetes API and a real cluster DNS, without nodes: etcd, kube-apiserver and CoreDNS in one namespace.

There are no controllers: the test writes the EndpointSlices, as the endpoint controller would.
"""

import http.client
import json
import re
import socket
import ssl
import struct
import subprocess
from pathlib import Path

from world import eventually, ip

GATEWAY = "10.244.0.1"  # the control plane's and the name server's address; the pods' are in the same /24
NAMESPACE = "mon"
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
COLLECTIONS = {
    "Service": "/api/v1/namespaces/mon/services",
    "Pod": "/api/v1/namespaces/mon/pods",
    "StatefulSet": "/apis/apps/v1/namespaces/mon/statefulsets",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/mon/poddisruptionbudgets",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/mon/endpointslices",
}
# As the usual cluster has it: an answer may be up to 30 s old.
COREFILE = """.:53 {{
  bind {gateway}
  kubernetes cluster.local {{
    kubeconfig {kubeconfig} c
    ttl 30
  }}
  cache 30
}}
"""
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "https://{gateway}:6443", insecure-skip-tls-verify: true}}}}]
users: [{{name: u, user: {{token: admin-token}}}}]
"""


class Refused(Exception):
    """The API server's own words, and its status code."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class Cluster:
    """Control plane in the namespace `<run>-k`, which the test itself enters."""

    def __init__(self, world, peers):
        self.world, self.peers = world, Path(peers)
        self.dir = world.dir / "cluster"
        self.dir.mkdir()
        self.namespace = world.namespace("k")
        ip("-n", self.namespace, "link", "add", "br0", "type", "bridge")
        ip("-n", self.namespace, "addr", "add", f"{GATEWAY}/24", "dev", "br0")
        ip("-n", self.namespace, "link", "set", "br0", "up")
        world.enter(self.namespace)
        self.etcd = self.api = self.dns = None

    def start(self):
        """Starts all three and returns once the API answers."""
        key = self.dir / "account.key"
        made = subprocess.run(["openssl", "genrsa", "-out", key, "2048"], capture_output=True, text=True)
        assert made.returncode == 0, f"openssl genrsa: {made.stderr}"
        (self.dir / "tokens.csv").write_text("admin-token,admin,1,system:masters\n")
        (self.dir / "kubeconfig").write_text(KUBECONFIG.format(gateway=GATEWAY))
        (self.dir / "Corefile").write_text(COREFILE.format(gateway=GATEWAY, kubeconfig=self.dir / "kubeconfig"))
        self.etcd = self.spawn("etcd", f"--data-dir={self.dir}/etcd", "--unsafe-no-fsync")
        self.api = self.spawn(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={GATEWAY}",
            "--secure-port=6443",
            f"--cert-dir={self.dir}/certs",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://cluster",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.dir}/tokens.csv",
            "--service-cluster-ip-range=10.96.0.0/24",
        )
        eventually("the API server is ready", 60, lambda: self.request("GET", "/readyz") == "ok")
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
        # A controller makes this account in a whole cluster; pods are not admitted without it.
        self.request("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
        self.start_dns()

    def start_dns(self):
        self.dns = self.spawn("coredns", "-conf", self.dir / "Corefile")

    def spawn(self, name, *arguments):
        return self.world.spawn(name, self.namespace, [self.peers / name, *arguments])

    def request(self, method, path, body=None, content_type="application/json", token="admin-token"):
        """One API request, as administrator by default: the decoded answer, or `Refused`."""
        connection = http.client.HTTPSConnection(GATEWAY, 6443, timeout=10, context=ssl._create_unverified_context())
        if isinstance(body, dict):
            body = json.dumps(body)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type, "Accept": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(answer.status, json.loads(text).get("message", text) if text.startswith("{") else text)
        return json.loads(text) if text.startswith("{") else text

    def apply(self, manifest, dry_run=False):
        """Creates every object of a YAML manifest with strict field validation, and returns them as stored."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        made = []
        for document in re.split(r"(?m)^---\s*$", manifest):
            if kind := re.search(r"(?m)^kind: (\w+)$", document):
                path = COLLECTIONS[kind.group(1)] + query
                made.append(self.request("POST", path, document.encode(), "application/yaml"))
        return made

    def publish(self, service, addresses):
        """Writes the EndpointSlice of a headless Service: pod name -> address; the ports are the Service's own."""
        ports = [{key: port[key] for key in ("name", "port", "protocol")} for port in service["spec"]["ports"]]
        name = service["metadata"]["name"]
        slice_ = {
            "metadata": {"name": f"{name}-a", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [
                {"addresses": [address], "hostname": pod, "conditions": {"ready": True}}
                for pod, address in addresses.items()
            ],
        }
        path = COLLECTIONS["EndpointSlice"]
        try:
            self.request("POST", path, slice_)
        except Refused as refused:
            if refused.code != 409:
                raise
            self.request("PUT", f"{path}/{name}-a", slice_)


A, SRV = 1, 33


def lookup(name, kind):
    """Asks the cluster's name server: a list of addresses, or of (target, port). Raises OSError when it is silent."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!x2H", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((GATEWAY, 53))  # connected: a closed port is an error at once
        client.send(query)
        answer = client.recv(4096)
    found, at = [], len(query)
    for _ in range(struct.unpack_from("!H", answer, 6)[0]):
        _, at = read_name(answer, at)
        record, _, _, length = struct.unpack_from("!2HIH", answer, at)
        at += 10
        if record == kind == A:
            found.append(socket.inet_ntoa(answer[at : at + 4]))
        elif record == kind == SRV:
            port = struct.unpack_from("!H", answer, at + 4)[0]
            found.append((read_name(answer, at + 6)[0], port))
        at += length
    return sorted(found)


def read_name(message, at):
    """A name at `at` of a DNS message (RFC 1035, 4.1.4): the name, and where the next field starts."""
    labels = []
    while length := message[at]:
        if length >= 0xC0:
            target = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            return ".".join([*labels, read_name(message, target)[0]]), at + 2
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1
