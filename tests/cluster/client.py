"""A client that asks the leader Service for its data, one question after the other, for as long as the test runs."""

import collections
import http.client
import json
import threading
import time

from api import Refused

PAUSE_SECONDS = 0.05
ENDPOINTS_SECONDS = 0.2  # what a kube-proxy needs to follow a change
TIMEOUT_SECONDS = 10
QUERY = "/api/v1/query?query=vector(1)"
Answer = collections.namedtuple("Answer", "began seconds error")  # monotonic; error: None or text


class Client:
    """Asks the Service `name` at the ready addresses of its EndpointSlices, in turn: there is no virtual address here.

    Only a refused connection is tried again at another address, because a Service sends a client there for a moment
    after a pod has ended. Everything else that is no answer is an error."""

    def __init__(self, api, name):
        self.api, self.name = api, name
        self.answers, self.refusals = [], 0
        self.endpoints, self.fetched = [], 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def _run(self):
        turn = 0
        while not self.stopping.wait(PAUSE_SECONDS):
            turn += 1
            began = time.monotonic()
            error = self._ask(turn, began + TIMEOUT_SECONDS)
            self.answers.append(Answer(began, time.monotonic() - began, error))

    def _ask(self, turn, deadline):
        """What went wrong with one question; None if nothing did."""
        while True:
            self._follow_endpoints()
            address, port = self.endpoints[turn % len(self.endpoints)] if self.endpoints else (None, None)
            try:
                if address is None:
                    return f"{self.name} has no ready endpoint"
                return ask(address, port)
            except ConnectionRefusedError as error:
                self.refusals += 1
                if time.monotonic() > deadline:
                    return f"{address}: {error}"
                turn += 1
                time.sleep(PAUSE_SECONDS)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return f"{address}: {type(error).__name__}: {error}"

    def _follow_endpoints(self):
        if time.monotonic() < self.fetched + ENDPOINTS_SECONDS:
            return
        query = f"?labelSelector=kubernetes.io/service-name%3D{self.name}"
        try:
            slices = self.api.list("EndpointSlice", query)
        except (OSError, http.client.HTTPException, Refused):
            return  # what was known before still holds
        self.fetched = time.monotonic()
        self.endpoints = sorted(
            (endpoint["addresses"][0], slice_["ports"][0]["port"])
            for slice_ in slices
            for endpoint in slice_.get("endpoints") or []
            if endpoint["conditions"].get("ready")
        )

    def report(self, since=0):
        """Number of answers and the longest wait. Fails if there were errors."""
        assert self.thread.is_alive() or self.stopping.is_set(), "the client is dead"
        answers = [answer for answer in list(self.answers) if answer.began >= since]
        failed = [answer for answer in answers if answer.error]
        if failed:
            lasted = failed[-1].began + failed[-1].seconds - failed[0].began
            errors = sorted({answer.error for answer in failed})
            raise AssertionError(f"{len(failed)} of {len(answers)} queries failed, within {lasted:.1f} s: {errors}")
        longest_ms = max((answer.seconds for answer in answers), default=0) * 1000
        return f"{len(answers)} queries, longest {longest_ms:.0f} ms, {self.refusals} refused connections tried again"


def ask(address, port):
    """One question: None, or why the answer is none."""
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", QUERY)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status != 200 or json.loads(body)["status"] != "success":
        return f"{address}: {answer.status} {body[:200]}"
    return None
