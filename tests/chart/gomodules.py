"""Files of other projects, as their Go modules carry them: pinned, checked by Go's checksums, kept in Go's cache."""

import json
import shutil
import subprocess
from pathlib import Path


class NoGo(Exception):
    """Go is not there; whoever needs a module says that it did not look."""


def folder(module, version):
    """Where the module's files are; downloads it once."""
    if shutil.which("go") is None:
        raise NoGo
    wanted = f"{module}@{version}"
    done = subprocess.run(["go", "mod", "download", "-json", wanted], capture_output=True, text=True, cwd="/", stdin=subprocess.DEVNULL)
    try:
        return Path(json.loads(done.stdout)["Dir"])
    except (ValueError, KeyError):
        raise SystemExit(f"go mod download {wanted}: {done.stdout}{done.stderr}") from None
