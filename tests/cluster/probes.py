"""Probes and hooks of a container: one attempt, and when its result changes what is known of the container."""

import http.client
import socket
import ssl
import time

UNVERIFIED = ssl._create_unverified_context()  # a kubelet does not verify either


def attempt(action, container, seconds):
    """Whether an `exec`, `httpGet` or `tcpSocket` action succeeds within this time."""
    if "exec" in action:
        return container.execute(action["exec"]["command"], seconds).returncode == 0
    target = action.get("httpGet") or action["tcpSocket"]
    port = port_of(container.spec, target["port"])
    try:
        if "tcpSocket" in action:
            socket.create_connection((container.address, port), seconds).close()
            return True
        if target.get("scheme") == "HTTPS":
            client = http.client.HTTPSConnection(container.address, port, timeout=seconds, context=UNVERIFIED)
        else:
            client = http.client.HTTPConnection(container.address, port, timeout=seconds)
        try:
            client.request("GET", target.get("path", "/"))
            return 200 <= client.getresponse().status < 400
        finally:
            client.close()
    except (OSError, http.client.HTTPException):
        return False


def port_of(spec, port):
    """A port by number or by name."""
    return port if isinstance(port, int) else next(p["containerPort"] for p in spec["ports"] if p.get("name") == port)


class Probe:
    """One of a container's probes. `result` is True or False once it is known, and None before."""

    def __init__(self, spec, now):
        self.spec = spec
        self.result, self.run_length, self.last = None, 0, None
        self.due = now + spec.get("initialDelaySeconds", 0)

    def poll(self, container):
        """Makes an attempt if one is due; `result` changes after as many equal ones as the spec asks for."""
        if time.monotonic() < self.due:
            return
        good = attempt(self.spec, container, self.spec.get("timeoutSeconds", 1))
        self.due = time.monotonic() + self.spec.get("periodSeconds", 10)
        self.run_length = self.run_length + 1 if good == self.last else 1
        self.last = good
        if self.run_length >= self.spec.get("successThreshold" if good else "failureThreshold", 1 if good else 3):
            self.result = good
