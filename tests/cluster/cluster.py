"""A real Kubernetes API and a real cluster DNS, without nodes: etcd, kube-apiserver, CoreDNS, and by choice the
controllers, in one namespace. Without controllers the test writes the EndpointSlices, as the endpoint controller
would."""

import subprocess
from pathlib import Path

from api import Api, Refused
from world import eventually, ip

GATEWAY = "10.244.0.1"  # the control plane's and the name server's address; the pods' are in the same network
PREFIX = 16
NAMESPACE = "test"
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
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
# Those that act on what a chart or a test makes. Not the ones for nodes: nobody sends heartbeats for ours.
CONTROLLERS = [
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
]


class Cluster:
    """Control plane in the namespace `<run>-k`, which the test itself enters."""

    def __init__(self, world, peers):
        self.world, self.peers = world, Path(peers)
        self.dir = world.dir / "cluster"
        self.dir.mkdir()
        self.kubeconfig, self.key = self.dir / "kubeconfig", self.dir / "account.key"
        self.namespace = world.namespace("k")
        ip("-n", self.namespace, "link", "add", "br0", "type", "bridge")
        ip("-n", self.namespace, "addr", "add", f"{GATEWAY}/{PREFIX}", "dev", "br0")
        ip("-n", self.namespace, "link", "set", "br0", "up")
        world.enter(self.namespace)
        self.api = Api(GATEWAY, NAMESPACE)
        self.etcd = self.server = self.controllers = self.dns = None

    def start(self, controllers=False):
        """Starts all of them and returns once the namespace can be used."""
        made = subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], capture_output=True, text=True)
        assert made.returncode == 0, f"openssl genrsa: {made.stderr}"
        (self.dir / "tokens.csv").write_text("admin-token,admin,1,system:masters\n")
        self.kubeconfig.write_text(KUBECONFIG.format(gateway=GATEWAY))
        (self.dir / "Corefile").write_text(COREFILE.format(gateway=GATEWAY, kubeconfig=self.kubeconfig))
        self.etcd = self.spawn("etcd", f"--data-dir={self.dir}/etcd", "--unsafe-no-fsync")
        self.start_server()
        if controllers:
            self.start_controllers()
        self.create_namespace(NAMESPACE)
        self.start_dns()

    def create_namespace(self, name):
        """Makes a namespace with Pod Security "restricted", and returns once pods may be made in it."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.api.request("POST", self.api.path("Namespace"), {"metadata": {"name": name, "labels": labels}})
        if not self.controllers:  # one of them makes the account without which no pod is admitted
            self.api.request("POST", self.api.path("ServiceAccount", namespace=name), {"metadata": {"name": "default"}})
        eventually(f"{name} has an account", 60, lambda: self.api.get("ServiceAccount", "default", name))

    def start_server(self):
        self.server = self.spawn(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={GATEWAY}",
            "--secure-port=6443",
            f"--cert-dir={self.dir}/certs",
            f"--service-account-key-file={self.key}",
            f"--service-account-signing-key-file={self.key}",
            "--service-account-issuer=https://cluster",
            "--authorization-mode=RBAC",
            "--allow-privileged",  # so that it is Pod Security that refuses
            f"--token-auth-file={self.dir}/tokens.csv",
            "--service-cluster-ip-range=10.96.0.0/24",
        )
        eventually("the API server is ready", 120, lambda: self.api.request("GET", "/readyz") == "ok")

    def start_controllers(self):
        self.controllers = self.spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.key}",
            f"--root-ca-file={self.dir}/certs/apiserver.crt",
            "--leader-elect=false",
            "--secure-port=0",
            f"--controllers={','.join(CONTROLLERS)}",
        )

    def start_dns(self):
        self.dns = self.spawn("coredns", "-conf", self.dir / "Corefile")

    def spawn(self, name, *arguments):
        return self.world.spawn(name, self.namespace, [self.peers / name, *arguments])

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
        try:
            self.api.request("POST", self.api.path("EndpointSlice"), slice_)
        except Refused as refused:
            if refused.code != 409:
                raise
            self.api.request("PUT", self.api.path("EndpointSlice", f"{name}-a"), slice_)
