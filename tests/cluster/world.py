"""Network namespaces and processes of one run.

Everything is named after this process (`pe-<pid>-...`), and gone on every way out: processes are killed by their id,
and die with us if we are killed (parent death signal); what a killed run leaves behind (namespaces, folders) is
removed by the next one.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000


def ip(*arguments):
    """Runs `ip`; its words are the error."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def eventually(what, seconds, probe, pause=0.05):
    """Calls `probe` until it returns something true, and returns that; after `seconds` fails with its last words."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := probe():
                return answer
            last = "it said no"
        except Exception as error:  # whatever it is, it is shown if it lasts
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what} (last: {last})")
        time.sleep(pause)


def tail(log, lines):
    """The last lines of a log, to be shown."""
    return "\n".join(f"    {line[:300]}" for line in log.read_text(errors="replace").splitlines()[-lines:])


class Process:
    """One child: its log, and its end by id."""

    def __init__(self, name, namespace, popen, log):
        self.name, self.namespace, self.popen, self.log = name, namespace, popen, log

    @property
    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        """SIGKILL, as a crash; returns when the process is gone."""
        if self.alive:
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def tail(self, lines=15):
        return tail(self.log, lines)


class World:
    """All namespaces and processes of this run. Use it in a `with` block."""

    def __init__(self):
        self.run = f"pe-{os.getpid()}"
        self.namespaces, self.processes = [], []
        self.at_end = []  # called first of all at the end: whoever starts processes by itself stops

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))
        remove_leftovers()
        self.dir = Path(tempfile.mkdtemp(prefix=f"{self.run}-"))
        return self

    def __exit__(self, kind, _error, _trace):
        for stop in self.at_end:
            stop()
        for process in reversed(self.processes):
            process.kill()
        for namespace in self.namespaces:
            remove_namespace(namespace)
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"logs are kept in {self.dir} until the next run", flush=True)

    def namespace(self, name):
        """A new network namespace with loopback up; returns its full name."""
        full = f"{self.run}-{name}"
        self.namespaces.append(full)
        ip("netns", "add", full)
        ip("-n", full, "link", "set", "lo", "up")
        Path("/etc/netns", full).mkdir(parents=True)
        return full

    def remove(self, namespace):
        """Ends a namespace before the run ends."""
        remove_namespace(namespace)
        self.namespaces.remove(namespace)

    def enter(self, namespace):
        """Moves this thread, and what it starts from now on, into the network of `namespace`."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{namespace}", "rb") as handle:
            if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {namespace}")

    def spawn(self, name, namespace, arguments, hostname=None, inherit=()):
        """Starts a process in `namespace`, with an almost empty environment and the file descriptors `inherit`. Every
        link of the chain execs the next one, so the id is that of the program itself. The process dies with the thread
        that calls this."""
        command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", namespace]
        if hostname:
            command += ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', hostname]
        log = self.dir / f"{name}.log"
        with log.open("a") as output:
            popen = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"]},
                cwd=self.dir,
                pass_fds=inherit,
                start_new_session=True,
            )
        process = Process(name, namespace, popen, log)
        self.processes.append(process)
        return process


def remove_namespace(namespace):
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(Path("/etc/netns", namespace), ignore_errors=True)


def remove_leftovers():
    """Removes what runs that were killed have left: names whose process is gone or is another program by now."""

    def is_left(name):
        parts = name.split("-")
        if len(parts) < 3 or parts[0] != "pe" or not parts[1].isdigit():
            return False
        try:
            return "python" not in os.readlink(f"/proc/{parts[1]}/exe")
        except OSError:
            return True

    for folder, remove in [
        ("/run/netns", lambda path: remove_namespace(path.name)),
        ("/etc/netns", lambda path: remove_namespace(path.name)),
        (tempfile.gettempdir(), lambda path: shutil.rmtree(path, ignore_errors=True)),
    ]:
        if os.path.isdir(folder):
            for path in filter(lambda path: is_left(path.name), Path(folder).iterdir()):
                remove(path)
