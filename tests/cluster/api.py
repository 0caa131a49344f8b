"""Requests to the Kubernetes API server. Kinds are found as kubectl finds them: the server lists
them."""

import http.client
import json
import re
import ssl

UNVERIFIED = ssl._create_unverified_context()  # the server made its certificate itself, at its start
MERGE = "application/merge-patch+json"


class Refused(Exception):
    """The API server's own words, and its status code."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class Api:
    """The API server at `address`; objects are those of `namespace` unless their manifest names another."""

    def __init__(self, address, namespace):
        self.address, self.namespace = address, namespace
        self._kinds = {}  # kind -> (path of its API group, plural, whether it is in a namespace)

    def request(self, method, path, body=None, content_type="application/json", token="admin-token"):
        """One request, as administrator by default: the decoded answer. `Refused`; OSError when nobody answers."""
        connection = http.client.HTTPSConnection(self.address, 6443, timeout=10, context=UNVERIFIED)
        if isinstance(body, dict):
            body = json.dumps(body)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type, "Accept": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(answer.status, json.loads(text).get("message", text) if text.startswith("{") else text)
        return json.loads(text) if text.startswith("{") else text

    def path(self, kind, name=None, namespace=None):
        """Path of a kind's objects, or of one of them. KeyError: the server does not know the kind."""
        if not self._kinds:
            self._discover()
        group, plural, namespaced = self._kinds[kind]
        scope = f"/namespaces/{namespace or self.namespace}" if namespaced else ""
        return f"{group}{scope}/{plural}" + (f"/{name}" if name else "")

    def _discover(self):
        groups = self.request("GET", "/apis")["groups"]
        for group in ["/api/v1", *(f"/apis/{found['preferredVersion']['groupVersion']}" for found in groups)]:
            for resource in self.request("GET", group)["resources"]:
                if "/" not in resource["name"]:
                    self._kinds.setdefault(resource["kind"], (group, resource["name"], resource["namespaced"]))

    def get(self, kind, name, namespace=None):
        return self.request("GET", self.path(kind, name, namespace))

    def list(self, kind, query=""):
        return self.request("GET", self.path(kind) + query)["items"]

    def patch(self, kind, name, change, namespace=None, part=""):
        """Merges `change` into an object; `part` may be "/status"."""
        return self.request("PATCH", self.path(kind, name, namespace) + part, change, MERGE)

    def delete(self, kind, name):
        return self.request("DELETE", self.path(kind, name))

    def create(self, path, document, dry_run=False):
        """Creates the object of a YAML document with strict field validation, and returns it as stored."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("POST", path + query, document.encode(), "application/yaml")

    def create_all(self, manifest):
        """Creates every object of a YAML manifest."""
        return [
            self.create(self.path(kind, namespace=namespace), document)
            for kind, namespace, document in documents(manifest)
        ]


def documents(manifest):
    """Of each object in a YAML manifest: kind, namespace or None, text. No YAML parser: the standard library has
    none."""
    for document in re.split(r"(?m)^---.*$", manifest):
        if kind := re.search(r"(?m)^kind: (\w+)\s*$", document):
            namespace = re.search(r"(?ms)^metadata:$(?:\n +\S[^\n]*)*?\n  namespace: (\S+)", document)
            yield kind.group(1), namespace and namespace.group(1), document
