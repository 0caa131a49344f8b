"""What renders the chart: Helm 4 as a library, always; Helm programs (3 or 4) where they are.

`render(values)` gives the objects in the order of Helm's files, and the notes. It raises `Refused` with Helm's words.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import helm_python
import yaml

CHART = Path(__file__).resolve().parents[2] / "chart"
RELEASE, NAMESPACE = "prom", "mon"
KUBERNETES = "1.34.0"  # a helm built from its module believes in a very old one


class Refused(Exception):
    """Helm does not take the values."""


class Library:
    """The Helm SDK from PyPI."""

    def __init__(self):
        self.name = f"Helm {helm_python.helm_sdk_version().lstrip('v')} (SDK)"
        self.chart = helm_python.Chart.load(CHART)

    def render(self, values, release=RELEASE):
        try:
            files = self.chart.render(values, name=release, namespace=NAMESPACE)
        except helm_python.HelmError as error:
            raise Refused(str(error)) from error
        notes = next(text for path, text in files.items() if path.endswith("NOTES.txt"))
        manifests = [text for path, text in sorted(files.items()) if not path.endswith("NOTES.txt")]
        return [made for text in manifests for made in yaml.safe_load_all(text) if made], notes

    def lint(self, values):
        """Findings, warnings too, of a strict lint."""
        report = helm_python.lint(CHART, values, strict=True, namespace=NAMESPACE)
        return [] if report.get("errors") in ([], None) and not report.get("failed") else [json.dumps(report)]


class Program:
    """A `helm` binary."""

    def __init__(self, path):
        self.path = path
        version = self._run("version", "--template", "{{.Version}}")
        self.name = f"Helm {version.strip().lstrip('v')} ({path})"

    def render(self, values):
        made = self._with_values(values, "template", RELEASE, str(CHART))
        return [made for made in yaml.safe_load_all(made) if made], None

    def lint(self, values):
        try:
            self._with_values(values, "lint", str(CHART), "--strict")
        except Refused as refused:
            return [str(refused)]
        return []

    def _with_values(self, values, *arguments):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            return self._run(*arguments, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--values", file.name)

    def _run(self, *arguments):
        done = subprocess.run(
            [self.path, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout
