"""Pods of the example's StatefulSet, run as plain processes: what a kubelet would do with them, as far as it matters
here. A pod is a network namespace, a host name, a folder a volume, and the containers' own arguments."""

import http.client
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cluster import DOMAIN, GATEWAY
from world import ip


class Pod:
    """Pod `ordinal` of a StatefulSet; `number` is unique in the run, `files` holds the content of Secrets by name."""

    def __init__(self, world, stateful_set, ordinal, number, programs, files):
        self.world, self.programs = world, programs
        self.spec = stateful_set["spec"]["template"]["spec"]
        self.name = f"{stateful_set['metadata']['name']}-{ordinal}"
        self.service = stateful_set["spec"]["serviceName"]
        self.address = f"10.244.0.{10 + number}"
        self.dir = world.dir / f"pod{number}"
        for volume in self.spec["volumes"]:
            for name, text in files.get(volume.get("secret", {}).get("secretName"), {}).items():
                path = self.dir / volume["name"] / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.containers = {}
        self.namespace = world.namespace(f"p{number}")
        link = f"pod{number}"
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", link, "master", "br0", "up")
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        self._configure()

    def _configure(self):
        """Address, and the two files that a kubelet writes into a pod."""
        ip("-n", self.namespace, "addr", "flush", "dev", "eth0")
        ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        etc = Path("/etc/netns", self.namespace)
        search = f"search {DOMAIN} svc.cluster.local cluster.local"
        (etc / "resolv.conf").write_text(f"nameserver {GATEWAY}\n{search}\noptions ndots:5\n")
        own_names = f"{self.name}.{self.service}.{DOMAIN} {self.name}"
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {own_names}\n")

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
        return self.world.spawn(name, self.namespace, [program, *arguments], hostname=self.name)

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
        self._configure()

    def get(self, port, path, timeout=2):
        """Decoded JSON of a GET that must answer 200."""
        connection = http.client.HTTPConnection(self.address, port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{self.name}{path}: {answer.status} {body[:200]!r}")
        return json.loads(body)

    def leads(self):
        """Whether this member says that it is the leader; False when it does not answer."""
        try:
            return self.get(9095, "/_elector/leader", timeout=0.5)["is_leader"]
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def group(self):
        """Its view of the group."""
        return self.get(9095, "/_elector/status")["group"]

    def ships(self):
        """Whether its gate passes remote writes on."""
        remotes = self.get(9095, "/_elector/status")["gate"]["remotes"]
        return [remote["phase"] for remote in remotes] == ["writer"]


class Receiver:
    """Takes remote writes, and remembers who sent when."""

    def __init__(self):
        self.requests = []  # (monotonic seconds, sender's address)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((time.monotonic(), self.client_address[0]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((GATEWAY, 9009), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def senders_since(self, start):
        return {sender for at, sender in list(self.requests) if at >= start}
