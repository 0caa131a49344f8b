"""A container without a container engine: a program of this machine in a bubblewrap sandbox.

Like a container it has file systems of its own (nothing of the machine but /usr, read-only), process ids, host name and
user of its own, and no capabilities; the network is its pod's. Unlike one it has no image: /usr is the machine's, the
program lies in /image under the image's name, and nothing limits its memory or processors. Number 1 is bubblewrap's own
small init; it is root's, so that it may be killed, and with it all, when bubblewrap and we are.
"""

import os
import re
from pathlib import Path

PATH = "/image:/usr/bin:/usr/sbin"
ROOT = [
    *["--unshare-ipc", "--unshare-uts", "--unshare-pid", "--die-with-parent", "--clearenv"],
    *["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"],
    *["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev"],
]
# What images have in /etc: the names of users and groups, and where names of hosts are looked up.
ETC = {
    "passwd": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "nsswitch.conf": "hosts: files dns\n",
}


class Sandbox:
    """How one container of a pod runs: `start` is the command line of its own program, `inside` of one more beside it.

    `spec` is the container's, `pod_spec` its pod's; `environment` is complete; `programs` maps what an image's name
    contains to a program, `mounts` the names of volumes to folders; `network` is the pod's, `etc` a folder of files."""

    def __init__(self, spec, pod_spec, hostname, environment, programs, mounts, network, etc):
        self.spec, self.hostname, self.mounts, self.network, self.etc = spec, hostname, mounts, network, etc
        self.environment = {"PATH": PATH, "HOSTNAME": hostname, "HOME": "/", **environment}
        self.security = {**pod_spec.get("securityContext", {}), **spec.get("securityContext", {})}
        self.program = next((path for image, path in programs.items() if re.search(image, spec["image"])), None)
        if not self.program:
            raise ValueError(f"no program for the image {spec['image']}: known are {list(programs)}")
        self.entrypoint = "/image/" + re.split("[:@]", spec["image"].rsplit("/", 1)[-1])[0]
        self.files = self._files()

    def start(self, info):
        """The command line of the container's program; bubblewrap tells its process id to the file descriptor
        `info`."""
        command = self.spec.get("command", [self.entrypoint]) + self.spec.get("args", [])
        return [
            *["bwrap", "--info-fd", info, *ROOT, "--hostname", self.hostname],
            *[word for name, value in self.environment.items() for word in ("--setenv", name, value)],
            *["--dir", "/image", "--ro-bind", self.program, self.entrypoint],
            *self.files,
            *(["--remount-ro", "/"] if self.security.get("readOnlyRootFilesystem") else []),
            *["--chdir", self.spec.get("workingDir", "/"), "--", *self._user(), *self._expand(command)],
        ]

    def inside(self, pid, command):
        """Command line and environment of one more program in the running container, as `kubectl exec` does it."""
        enter = ["/usr/bin/nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return [*enter, *self._user(), *command], self.environment

    def _files(self):
        """Mounts: /etc, and the container's volumes. Folders on the way are made open: bubblewrap makes them 0700."""
        etc = [*self.etc.iterdir(), self.network.hosts, self.network.resolv]
        words, made = ["--perms", "0755", "--dir", "/etc"], {"/etc", "/image"}
        for file in etc:
            words += ["--ro-bind", file, f"/etc/{file.name}"]
        for mount in sorted(self.spec.get("volumeMounts", []), key=lambda mount: mount["mountPath"]):
            if unknown := set(mount) - {"name", "mountPath", "readOnly"}:
                raise ValueError(f"this node knows nothing of {unknown} in volumeMounts")
            for parent in reversed(Path(mount["mountPath"]).parents):
                if str(parent) not in made | {"/"}:
                    made.add(str(parent))
                    words += ["--perms", "0755", "--dir", parent]
            bind = "--ro-bind" if mount.get("readOnly") else "--bind"
            words += [bind, self.mounts[mount["name"]], mount["mountPath"]]
        return words

    def _user(self):
        """Gives up root and all capabilities for good."""
        user = str(self.security.get("runAsUser", 65534))
        group = str(self.security.get("runAsGroup", user))
        groups = ["--groups", str(self.security["fsGroup"])] if "fsGroup" in self.security else ["--clear-groups"]
        rights = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return ["setpriv", "--reuid", user, "--regid", group, *groups, *rights, "--"]

    def _expand(self, words):
        """Kubernetes replaces $(NAME) by the container's variables, and leaves unknown ones alone."""
        return [re.sub(r"\$\((\w+)\)", lambda name: self.environment.get(name[1], name[0]), word) for word in words]


def init_of(info):
    """The process id of the sandbox's init, as bubblewrap tells it through the pipe end `info`; None when it failed
    before."""
    with os.fdopen(info) as told:
        pid = re.search(r'"child-pid": (\d+)', told.read())
    return pid and int(pid[1])


def program_of(init):
    """The process id of the program: the oldest child of init. None when it is not there yet, or no more."""
    try:
        children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
