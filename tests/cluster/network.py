"""The network of one pod: a namespace with an address on the cluster's bridge, and the two files that a kubelet
writes."""

from pathlib import Path

from cluster import GATEWAY, PREFIX
from world import ip


class PodNetwork:
    """Namespace `<run>-<name>`; its end of the cable is eth0, the bridge's is `name`."""

    def __init__(self, world, name):
        self.world, self.address = world, None
        self.namespace = world.namespace(name)
        self.hosts, self.resolv = (Path("/etc/netns", self.namespace, file) for file in ("hosts", "resolv.conf"))
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", name, "master", "br0", "up")
        ip("-n", self.namespace, "link", "set", "eth0", "up")

    def configure(self, address, names, kubernetes_namespace):
        """Gives the pod its address, in the place of the one before, and its names."""
        self.address = address
        ip("-n", self.namespace, "addr", "flush", "dev", "eth0")
        ip("-n", self.namespace, "addr", "add", f"{address}/{PREFIX}", "dev", "eth0")
        search = f"search {kubernetes_namespace}.svc.cluster.local svc.cluster.local cluster.local"
        self.resolv.write_text(f"nameserver {GATEWAY}\n{search}\noptions ndots:5\n")
        self.hosts.write_text(f"127.0.0.1 localhost\n{address} {' '.join(names)}\n")

    def remove(self):
        self.world.remove(self.namespace)  # the cable goes with it
