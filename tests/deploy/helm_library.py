"""A process that lints and renders charts with Helm's own library.

There is no way around the command in it but one: installing. So a chart is installed into a cluster that is made of
this file, which tells what kinds it knows and has nothing. The first thing that Helm writes to a cluster is the
release itself, with all of its manifests: there it gets what it wants to know, and refuses the rest.

    python helm_library.py LIBRARY < jobs.json > results.json
"""

from __future__ import annotations

import base64
import ctypes
import gzip
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KINDS = {
    "v1": ("ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "monitoring.coreos.com/v1": ("ServiceMonitor",),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
}


def plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"


def resources(version: str) -> dict[str, Any]:
    listed = [{"name": plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]} for kind in KINDS[version]]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}


def groups() -> dict[str, Any]:
    listed = [
        {"name": version.split("/")[0], "versions": [there], "preferredVersion": there}
        for version in KINDS
        if "/" in version
        for there in [{"groupVersion": version, "version": version.split("/")[1]}]
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


PAGES: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": groups(),
    **{("/apis/" if "/" in version else "/api/") + version: resources(version) for version in KINDS},
}

NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
NO_ROOM = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}


class Cluster(ThreadingHTTPServer):
    """Holds the release that was written last."""

    release: dict[str, Any] | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def kubeconfig(self) -> str:
        # As the library looks for it, to tell it from the name of a file.
        return f"""apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{self.server_port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
current-context: c
"""


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cluster

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/secrets"):
            self._answer(200, {"kind": "SecretList", "apiVersion": "v1", "items": []})
        else:
            self._answer(200 if path in PAGES else 404, PAGES.get(path, NOT_FOUND))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if (found := re.search(rb"H4sI[A-Za-z0-9+/]+=*", body)) is not None and self.server.release is None:
            self.server.release = json.loads(gzip.decompress(base64.b64decode(found[0])))
        self._answer(403, NO_ROOM)

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


class Helm:
    def __init__(self, library: str, cluster: Cluster) -> None:
        self._cluster = cluster
        self._library = ctypes.CDLL(library)
        self._library.helm_sdkpy_last_error.restype = ctypes.c_char_p
        self._handle = ctypes.c_ulonglong()
        code = self._library.helm_sdkpy_config_create(
            b"llm", cluster.kubeconfig.encode(), b"", b"{}", ctypes.byref(self._handle)
        )
        assert code == 0, self._error()

    def lint(self, chart: str) -> dict[str, Any]:
        """`messages`: the severities of what is found, 1 for what is only information."""
        out = ctypes.c_char_p()
        code = self._library.helm_sdkpy_lint(self._handle, chart.encode(), ctypes.byref(out))
        assert code == 0, self._error()
        found = json.loads(out.value or b"{}")
        return {"messages": [[each["Severity"], each["Path"]] for each in found["Messages"]]}

    def render(self, chart: str, values: dict[str, Any]) -> dict[str, Any]:
        """`manifest` and `notes`; or the `error`."""
        self._cluster.release = None
        out = ctypes.c_char_p()
        options = {"wait": False, "timeout_seconds": 20, "server_side_apply": "false"}
        self._library.helm_sdkpy_install(
            self._handle,
            *(b"rel", chart.encode(), json.dumps(values).encode(), b"", json.dumps(options).encode()),
            ctypes.byref(out),
        )
        release = self._cluster.release
        if release is None:
            return {"error": self._error()}
        return {"manifest": release["manifest"], "notes": release["info"]["notes"]}

    def _error(self) -> str:
        return (self._library.helm_sdkpy_last_error() or b"").decode()


def main() -> None:
    helm = Helm(sys.argv[1], Cluster())
    results = [
        helm.render(job["chart"], job["values"]) if "values" in job else helm.lint(job["chart"])
        for job in json.load(sys.stdin)
    ]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
