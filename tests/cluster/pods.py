"""Pods of the example's StatefulSet, run as plain processes: what a kubelet would do with them, as far as it matters
here. A pod is a network namespace, a host name, a folder a volume, and the containers' own arguments."""

import re

from cluster import DOMAIN, NAMESPACE
from member import Member
from network import PodNetwork


class Pod(Member):
    """Pod `ordinal` of a StatefulSet; `number` is unique in the run, `files` holds the content of Secrets by name."""

    def __init__(self, world, stateful_set, ordinal, number, programs, files):
        self.world, self.programs = world, programs
        self.spec = stateful_set["spec"]["template"]["spec"]
        self.name = f"{stateful_set['metadata']['name']}-{ordinal}"
        self.service = stateful_set["spec"]["serviceName"]
        self.dir = world.dir / f"pod{number}"
        for volume in self.spec["volumes"]:
            for name, text in files.get(volume.get("secret", {}).get("secretName"), {}).items():
                path = self.dir / volume["name"] / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.containers = {}
        self.network = PodNetwork(world, f"pod{number}")
        self.move(f"10.244.0.{10 + number}")

    def start(self):
        """Runs the init containers, then starts the others."""
        for container in self.spec.get("initContainers", []):
            process = self._run(container)
            code = process.popen.wait(timeout=30)
            assert code == 0, f"{process.name} ended with code {code}:\n{process.tail()}"
        for container in self.spec["containers"]:
            self.containers[container["name"]] = self._run(container)

    def _run(self, container):
        arguments = [self.in_folder(argument, container) for argument in container["args"]]
        program = next(path for image, path in self.programs.items() if f"/{image}:" in container["image"])
        name = f"{self.dir.name}-{self.name}.{container['name']}"
        return self.world.spawn(name, self.network.namespace, [program, *arguments], hostname=self.name)

    def in_folder(self, argument, container):
        """An argument with mount paths replaced by this pod's folders."""
        for mount in container["volumeMounts"]:
            folder = self.dir / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            argument = re.sub(rf"(?<=[=,]){re.escape(mount['mountPath'])}(?=/|$)", str(folder), argument)
        return argument

    def kill(self):
        """Every container at once, as when the node is lost."""
        for process in self.containers.values():
            process.popen.kill()
        for process in self.containers.values():
            process.kill()

    def move(self, address):
        """Gives a pod that does not run another address."""
        self.address = address
        self.network.configure(address, [f"{self.name}.{self.service}.{DOMAIN}", self.name], NAMESPACE)
