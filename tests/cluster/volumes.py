"""Volumes of one pod as folders. Those made from objects of the API are replaced as a kubelet does it: a new folder
with all files, then one rename, so that a program never sees half of a change."""

import base64
import contextlib
import os
import shutil
import time

from api import Refused

TOKEN_SECONDS = 3600


class NotThere(Exception):
    """An object that a volume is made of does not exist (yet): the pod waits."""


class Volumes:
    """`paths` maps each volume's name to its folder. `claims` is a folder that outlives the pod: a claim's folder in it
    is named by the claim's uid, so a claim that was deleted and made anew is empty."""

    def __init__(self, api, pod, folder, claims, field):
        self.api, self.pod, self.folder, self.claims, self.field = api, pod, folder, claims, field
        self.namespace = pod["metadata"]["namespace"]
        self.group = pod["spec"].get("securityContext", {}).get("fsGroup")
        self.paths, self.contents, self.token = {}, {}, (0, b"")

    def prepare(self):
        """Makes all folders. Raises `NotThere`."""
        for volume in self.pod["spec"].get("volumes", []):
            if "emptyDir" in volume:
                path = self.folder / volume["name"]
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o777)
            elif "persistentVolumeClaim" in volume:
                claim = self._get("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
                path = self.claims / claim["metadata"]["uid"]
                path.mkdir(parents=True, exist_ok=True)
            else:
                path = self.folder / volume["name"]
                self._project(path, volume)
            self.paths[volume["name"]] = path
            if self.group is not None and not self._is_projected(volume):
                give_to_group(path, self.group)

    def refresh(self):
        """Brings those made from objects up to date. An object that is gone changes nothing."""
        for volume in filter(self._is_projected, self.pod["spec"].get("volumes", [])):
            with contextlib.suppress(NotThere):
                self._project(self.paths[volume["name"]], volume)

    @staticmethod
    def _is_projected(volume):
        return "emptyDir" not in volume and "persistentVolumeClaim" not in volume

    def _project(self, path, volume):
        """Writes the volume's files if they differ from those that are there."""
        source = next(value for key, value in volume.items() if key != "name")
        files = self._files(volume, source.get("defaultMode", 0o644))
        if self.contents.get(path) == files:
            return
        path.mkdir(parents=True, exist_ok=True)
        new, link = path / f"..{time.time_ns()}", path / "..data"
        new.mkdir()
        for name, (content, mode) in files.items():
            file = new / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)
            os.chown(file, 0, self.group or 0)
        old = os.readlink(link) if link.is_symlink() else None
        (path / "..data_tmp").symlink_to(new.name)
        (path / "..data_tmp").rename(link)
        for name in {name.split("/")[0] for name in files}:
            if not (path / name).is_symlink():
                (path / name).symlink_to(f"..data/{name}")
        if old:
            shutil.rmtree(path / old)
        self.contents[path] = files

    def _files(self, volume, mode):
        """Files of a volume, or of one source of a projected one: name -> (content, mode)."""
        if "projected" in volume:
            return {k: v for source in volume["projected"]["sources"] for k, v in self._files(source, mode).items()}
        if "serviceAccountToken" in volume:
            return {volume["serviceAccountToken"]["path"]: (self._account_token(), mode)}
        if "downwardAPI" in volume:
            items = volume["downwardAPI"].get("items", [])
            return {item["path"]: (self.field(item["fieldRef"]["fieldPath"]).encode(), mode) for item in items}
        if "secret" in volume or "configMap" in volume:
            return self._object_files(volume, mode)
        raise ValueError(f"this node knows no such volume: {volume}")

    def _object_files(self, volume, mode):
        kind, source = ("Secret", volume["secret"]) if "secret" in volume else ("ConfigMap", volume["configMap"])
        try:
            found = self._get(kind, source.get("secretName", source.get("name")))
        except NotThere:
            if source.get("optional"):
                return {}
            raise
        data = read_data(found)
        wanted = source.get("items", [{"key": key, "path": key} for key in data])
        for item in wanted:
            if item["key"] not in data:
                raise NotThere(f"key {item['key']} of {kind} {found['metadata']['name']}")
        return {item["path"]: (data[item["key"]], item.get("mode", mode)) for item in wanted}

    def _account_token(self):
        made, token = self.token
        if time.monotonic() - made > TOKEN_SECONDS * 0.8 or not token:
            account = self.pod["spec"].get("serviceAccountName", "default")
            path = self.api.path("ServiceAccount", account, self.namespace) + "/token"
            answer = self.api.request("POST", path, {"spec": {"expirationSeconds": TOKEN_SECONDS}})
            self.token = (time.monotonic(), answer["status"]["token"].encode())
        return self.token[1]

    def _get(self, kind, name):
        try:
            found = self.api.get(kind, name, self.namespace)
        except Refused as refused:
            if refused.code != 404:
                raise
            raise NotThere(f"{kind} {name}") from None
        if found["metadata"].get("deletionTimestamp"):
            raise NotThere(f"{kind} {name} (it is being deleted)")
        return found


def read_data(found):
    """Keys and bytes of a Secret or ConfigMap."""
    if found["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}
    binary = {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}
    return {key: value.encode() for key, value in found.get("data", {}).items()} | binary


def give_to_group(path, group):
    """fsGroup: all that is there belongs to the group, which may write, and so does what comes."""
    for folder, _, files in os.walk(path):
        os.chown(folder, -1, group)
        os.chmod(folder, os.stat(folder).st_mode | 0o2770)
        for file in files:
            name = os.path.join(folder, file)
            os.chown(name, -1, group, follow_symlinks=False)
            os.chmod(name, os.stat(name).st_mode | 0o660)
