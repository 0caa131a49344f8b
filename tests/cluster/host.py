"""Hosts without Kubernetes: a network namespace, whose programs run without privileges, as an example's file says."""

import http.client
import json
import re
import socket
import struct
import threading
from pathlib import Path

from world import ip

NOBODY = 65534


class Network:
    """One switch in a namespace of its own, with a name server if there are `aliases`: {name: [address]}."""

    def __init__(self, world, subnet, aliases):
        self.world, self.subnet, self.aliases, self.running = world, subnet, aliases, set()
        self.namespace = world.namespace("switch")
        ip("-n", self.namespace, "link", "add", "br0", "type", "bridge")
        ip("-n", self.namespace, "link", "set", "br0", "up")
        ip("-n", self.namespace, "addr", "add", f"{subnet}.1/24", "dev", "br0")
        if aliases:
            ready = threading.Event()
            threading.Thread(target=self._serve_names, args=(ready,), daemon=True).start()
            assert ready.wait(5), "the name server does not start"

    def plug(self, name, address, hosts=""):
        """A new namespace with that address."""
        namespace = self.world.namespace(name)
        ip("-n", self.namespace, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.namespace, "link", "set", f"to-{name}", "master", "br0", "up")
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        etc = Path("/etc/netns", namespace)
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        (etc / "resolv.conf").write_text(f"nameserver {self.subnet}.1\noptions ndots:0\n" if self.aliases else "")
        return namespace

    def _serve_names(self, ready):
        """A records of what runs; NXDOMAIN for everything else."""
        self.world.enter(self.namespace)
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((f"{self.subnet}.1", 53))
        ready.set()
        while True:
            question, client = server.recvfrom(2048)
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
                at += 1 + question[at]
            found = [address for address in self.aliases.get(".".join(labels), []) if address in self.running]
            answers = found if question[at + 1 : at + 3] == b"\x00\x01" else []
            head = question[:2] + struct.pack(">HHHHH", 0x8180 if found else 0x8183, 1, len(answers), 0, 0)
            body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 600, 4) + socket.inet_aton(a) for a in answers)
            server.sendto(head + question[12 : at + 5] + body, client)


class Host:
    """`commands`: the arguments of init, elector and prometheus; `paths`: what a path of theirs is here."""

    def __init__(self, network, name, address, programs, commands, variables, paths, hosts=""):
        self.network, self.name, self.address, self.programs = network, name, address, programs
        self.commands, self.variables, self.paths, self.running = commands, variables, paths, {}
        self.namespace = network.plug(name[-1], address, hosts)

    def run(self, part):
        program = self.programs["prometheus" if part in ("prometheus", "storage") else "elector"]
        arguments = [self._here(argument) for argument in self.commands[part]]
        user = ["env", *map("=".join, self.variables.items()), "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY)]
        user += ["--clear-groups", "--no-new-privs", "--bounding-set", "-all", "--pdeathsig", "KILL"]
        # The storage of an example may have a port for root.
        user = [] if part == "storage" else user
        world = self.network.world
        self.running[part] = world.spawn(f"{self.name}-{part}", self.namespace, [*user, program, *arguments])
        return self.running[part]

    def _here(self, argument):
        for path, here in self.paths.items():
            argument = re.sub(rf"(^|=){re.escape(path)}(?=/|$)", lambda match: match[1] + str(here), argument)
        return argument

    def start(self):
        init = self.run("init")
        assert init.popen.wait(timeout=20) == 0, f"{init.name} failed:\n{init.tail()}"
        self.network.running.add(self.address)
        self.run("elector")
        self.run("prometheus")

    def kill(self):
        for part in ("elector", "prometheus"):
            self.running[part].kill()
        self.network.running.discard(self.address)

    def get(self, port, path):
        """Decoded JSON, asked from inside of the namespace."""
        answers = []

        def ask():
            self.network.world.enter(self.namespace)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            try:
                connection.request("GET", path)
                answers.append(json.loads(connection.getresponse().read()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                answers.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def leads(self):
        try:
            return self.get(9095, "/_elector/leader")["is_leader"]
        except (OSError, http.client.HTTPException, ValueError):
            return False
