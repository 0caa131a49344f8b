"""A member of the group, asked from outside over HTTP."""

import http.client
import json

from world import eventually

ELECTOR, PROMETHEUS = 9095, 9090  # ports


class Member:
    """What answers at `address`, which may change."""

    def __init__(self, name, address):
        self.name, self.address = name, address

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
            return self.get(ELECTOR, "/_elector/leader", timeout=0.5)["is_leader"]
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def status(self):
        return self.get(ELECTOR, "/_elector/status")

    def group(self):
        """Its view of the group."""
        return self.status()["group"]

    def seen(self, name):
        """What it knows of the member `name`; None if that is no member."""
        return next((member for member in self.group()["members"] if member["name"] == name), None)

    def ships(self):
        """Whether its gate passes remote writes on."""
        remotes = self.status()["gate"]["remotes"]
        return [remote["phase"] for remote in remotes] == ["writer"]


def wait_for_leader(members, seconds):
    """The one of `members` that says it leads."""
    what = f"one of {[member.name for member in members]} leads"
    return eventually(what, seconds, lambda: next(filter(Member.leads, members), None), 0.01)


def wait_for_one_writer(leader, replicas, seconds=30):
    """Until the leader's gate, and that of no other replica, passes remote writes on."""
    wanted = [replica.name == leader.name for replica in replicas]
    what = f"only {leader.name} of {[replica.name for replica in replicas]} passes remote writes on"
    eventually(what, seconds, lambda: [replica.ships() for replica in replicas] == wanted)


def is_voter(leader, member):
    """Whether `member` is a voter for the leader, which has just heard it, and settled in its own eyes."""
    seen, own = leader.seen(member.name), member.group()
    heard = member.name == leader.name or seen["last_contact_ms"] is not None and seen["last_contact_ms"] < 2000
    return seen["kind"] in ("voter", "witness") and heard and own["settled"] and own["leader"] == leader.name
