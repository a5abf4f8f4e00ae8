"""The Helm chart: linted and rendered by Helm's own library, judged by Kubernetes' own schemas, and by what the
gateway makes of the configuration in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema
import pytest
import referencing
import yaml
from msgspec import Struct

from busbar import __version__
from busbar.config import Config, loads
from busbar.config.schema import LimitsConfig

from .conftest import ROOT
from .dockerfile import Stage, stages

CHART = ROOT / "deploy" / "helm" / "busbar"
KUBERNETES = "v1.33.0-local-strict"
NO_SCHEMA = {"ServiceMonitor"}
"""Custom resources: their schema is their operator's."""

Document: TypeAlias = dict[str, Any]
Values: TypeAlias = dict[str, Any]


class Rendered(Struct, frozen=True):
    manifests: list[Document]
    notes: str

    def one(self, kind: str) -> Document:
        (only,) = self.all(kind)
        return only

    def all(self, kind: str) -> list[Document]:
        return [each for each in self.manifests if each["kind"] == kind]

    @property
    def pod(self) -> Document:
        spec: Document = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Document:
        (only,) = self.pod["containers"]
        return dict(only)

    def config(self, **env: str) -> Config:
        data = self.one("ConfigMap")["data"]
        text = data["config.yaml"]
        names = re.findall(r"\$\{(\w+)\}", text)
        keys = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", *names), "key")
        return loads(text, env={**keys, **env})


def work(library: Path, jobs: list[Document]) -> list[Document]:
    script = Path(__file__).with_name("helm_library.py")
    command, given = [sys.executable, script, library], json.dumps(jobs)
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, env={}, check=False)
    assert done.returncode == 0, done.stderr
    results: list[Document] = json.loads(done.stdout)
    return results


def written(name: str) -> Values:
    values: Values = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


CASES: dict[str, Values] = {
    **{name: written(name) for name in ("plain", "governed", "everything")},
    "defaults": {},
    "single": {"replicaCount": 1},
    "claimed": {**written("governed"), "persistence": {"existingClaim": "mine"}},
    "strangers": {"config": {"tls": {"certificate": "/c", "key": "/k", "client_certificates": "required"}}},
    "own-account": {"serviceAccount": {"create": False, "name": "theirs"}, "preStopSecs": 0},
    "scaled-governance": {**written("governed"), "autoscaling": {"enabled": True}},
    "listens-elsewhere": {"config": {"listen": "0.0.0.0:9000"}},
    "unknown-value": {"replicas": 3},
    "other-config": {"config": {**written("plain")["config"], "limits": {"drain_timeout_secs": 0.5}}},
}


@pytest.fixture(scope="module")
def results(helm_library: Path) -> dict[str, Document]:
    jobs = [{"chart": str(CHART), "values": values} for values in CASES.values()]
    return dict(zip(CASES, work(helm_library, jobs), strict=True))


@pytest.fixture
def rendered(results: dict[str, Document]) -> Callable[[str], Rendered]:
    def of(case: str) -> Rendered:
        result = results[case]
        assert "error" not in result, result
        documents = [each for each in yaml.safe_load_all(result["manifest"]) if each is not None]
        return Rendered(documents, result["notes"])

    return of


GOOD = [
    "plain",
    "governed",
    "everything",
    "defaults",
    "single",
    "claimed",
    "strangers",
    "own-account",
    "other-config",
]


# --- as Helm and Kubernetes see it


def test_helm_finds_nothing_to_complain_of(helm_library: Path) -> None:
    (found,) = work(helm_library, [{"chart": str(CHART)}])
    information = 1
    assert [each for each in found["messages"] if each[0] > information] == []


@pytest.mark.parametrize("case", GOOD)
def test_kubernetes_knows_every_field_of_every_manifest(
    rendered: Callable[[str], Rendered], tools: Path, case: str
) -> None:
    folder = tools / "kubernetes_validate" / "kubernetes-json-schema" / KUBERNETES

    def retrieve(uri: str) -> referencing.Resource[Any]:
        return referencing.Resource.from_contents(json.loads((folder / uri.rpartition("/")[2]).read_text()))

    registry: referencing.Registry[Any] = referencing.Registry(retrieve=retrieve)
    for manifest in rendered(case).manifests:
        if manifest["kind"] in NO_SCHEMA:
            continue
        group, _, version = manifest["apiVersion"].rpartition("/")
        place = "-".join(part for part in (manifest["kind"].lower(), group.split(".")[0], version) if part)
        schema = json.loads((folder / f"{place}.json").read_text())
        jsonschema.Draft202012Validator(schema, registry=registry).validate(manifest)


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ("unknown-value", "additional properties 'replicas' not allowed"),
        ("scaled-governance", "governance keeps its keys and budgets in one process: it cannot be autoscaled"),
        ("listens-elsewhere", "config.listen is the chart's"),
    ],
)
def test_values_that_cannot_be_are_refused(results: dict[str, Document], case: str, complaint: str) -> None:
    assert complaint in results[case]["error"]


# --- whether the pieces fit


@pytest.mark.parametrize("case", GOOD)
def test_what_is_named_is_there(rendered: Callable[[str], Rendered], case: str) -> None:
    there = rendered(case)
    pod, container = there.pod, there.container
    labels = there.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        there.one("Deployment")["spec"]["selector"]["matchLabels"],
        there.one("Service")["spec"]["selector"],
        *[each["spec"]["selector"]["matchLabels"] for each in there.all("PodDisruptionBudget")],
        *[each["spec"]["podSelector"]["matchLabels"] for each in there.all("NetworkPolicy")],
    ]
    assert [selector for selector in selectors if not selector.items() <= labels.items()] == []
    for monitor in there.all("ServiceMonitor"):
        found = there.one("Service")["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= found.items()

    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    maps = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
    assert maps == [there.one("ConfigMap")["metadata"]["name"]]
    claims = {each["metadata"]["name"] for each in there.all("PersistentVolumeClaim")} | {"mine"}
    assert {
        each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each
    } <= claims
    accounts = [each["metadata"]["name"] for each in there.all("ServiceAccount")] or ["theirs"]
    assert [pod["serviceAccountName"]] == accounts
    assert [each["name"] for each in container["ports"]] == [
        each["targetPort"] for each in there.one("Service")["spec"]["ports"]
    ]
    for scaler in there.all("HorizontalPodAutoscaler"):
        assert scaler["spec"]["scaleTargetRef"]["name"] == there.one("Deployment")["metadata"]["name"]
    names = [(each["kind"], each["metadata"]["name"]) for each in there.manifests]
    assert len(set(names)) == len(names)


def test_the_pod_is_the_images(rendered: Callable[[str], Rendered]) -> None:
    image: Stage = stages(ROOT / "Dockerfile")[-1]
    there = rendered("plain")
    user, _, group = image.one("USER").text.partition(":")
    context = there.pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (int(user), int(group), int(group))
    assert there.container["args"] == image.one("CMD").words
    assert [each["containerPort"] for each in there.container["ports"]] == [int(image.one("EXPOSE").text)]
    mounts = {each["mountPath"]: each for each in there.container["volumeMounts"]}
    assert image.one("VOLUME").words[0] in mounts
    assert mounts.keys() == {"/etc/busbar", "/var/lib/busbar", "/tmp"}
    assert there.container["image"] == f"busbar:{__version__}"


@pytest.mark.parametrize("case", GOOD)
def test_the_pod_may_do_nothing_but_serve(rendered: Callable[[str], Rendered], case: str) -> None:
    there = rendered(case)
    assert there.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    context = there.pod["securityContext"]
    assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert there.pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("case", "drain_secs"), [("plain", 30), ("governed", 90), ("own-account", 30), ("other-config", 1)]
)
def test_a_pod_is_let_live_until_it_has_drained(
    rendered: Callable[[str], Rendered], case: str, drain_secs: int
) -> None:
    there = rendered(case)
    waits = CASES[case].get("preStopSecs", 5)
    assert there.pod["terminationGracePeriodSeconds"] == drain_secs + waits + 15
    command = there.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    assert command == (["python", "-c", f"import time; time.sleep({waits})"] if waits else None)
    assert LimitsConfig().drain_timeout_secs == 30, "as the chart has it where nothing is said"


def test_a_sick_provider_takes_a_pod_out_and_does_not_restart_it(rendered: Callable[[str], Rendered]) -> None:
    container = rendered("plain").container
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/ui/icon.svg",
        "liveness": "/ui/icon.svg",
        "readiness": "/healthz",
    }
    assert {probe.get("scheme") for probe in probes.values()} == {None}
    encrypted = rendered("everything").container
    assert {encrypted[f"{name}Probe"]["httpGet"]["scheme"] for name in probes} == {"HTTPS"}
    closed = rendered("strangers").container
    assert {closed[f"{name}Probe"]["tcpSocket"]["port"] for name in probes} == {"http"}


def test_governance_has_one_owner_and_a_volume(rendered: Callable[[str], Rendered]) -> None:
    governed, claimed, plain = rendered("governed"), rendered("claimed"), rendered("plain")
    assert governed.one("Deployment")["spec"]["replicas"] == 1
    assert governed.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert governed.config().governance.db_path.startswith("/var/lib/busbar/")
    claim = governed.one("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "5Gi"}},
    }
    assert claimed.all("PersistentVolumeClaim") == governed.all("PodDisruptionBudget") == []
    volumes = {each["name"]: each for each in claimed.pod["volumes"]}
    assert volumes["state"] == {"name": "state", "persistentVolumeClaim": {"claimName": "mine"}}
    assert plain.one("Deployment")["spec"]["replicas"] == 2
    assert plain.one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert len(plain.all("PodDisruptionBudget")) == 1
    assert rendered("single").all("PodDisruptionBudget") == []


@pytest.mark.parametrize("case", ["plain", "governed", "everything", "other-config"])
def test_the_gateway_understands_the_configuration_in_it(rendered: Callable[[str], Rendered], case: str) -> None:
    config = rendered(case).config()
    assert set(config.models) == set(CASES[case]["config"]["models"])
    limits = CASES[case]["config"].get("limits", {})
    assert {name: getattr(config.limits, name) for name in limits} == limits


def test_another_configuration_makes_other_pods(rendered: Callable[[str], Rendered]) -> None:
    sums = [
        rendered(case).one("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for case in ("plain", "other-config", "single", "defaults")
    ]
    assert len(set(sums)) == 3
    assert sums[2] == sums[3], "what is not the configuration changes no pod"


def test_whoever_installs_it_without_models_is_told(rendered: Callable[[str], Rendered]) -> None:
    assert "no model in `config.models`" in rendered("defaults").notes
    assert "no model" not in rendered("plain").notes
    assert "http://rel-busbar.llm:8080/v1" in rendered("plain").notes
    assert "https://gateway.llm:443/v1" in rendered("everything").notes


# --- without Helm


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "deploy" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_the_values_are_as_their_schema_says_and_none_is_without_a_place_in_it() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)

    def compare(schema: Document, value: Any, path: str) -> None:
        if schema.get("additionalProperties") is False:
            assert set(schema["properties"]) == set(value), path
            for name, inner in schema["properties"].items():
                compare(inner, value[name], f"{path}.{name}")

    compare(schema, values, "values")


def test_every_value_is_used_and_every_value_that_is_used_exists() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    used = {tuple(path.split(".")) for path in re.findall(r"\.Values\.([\w.]+)", templates)}
    for path in used - {path for path in used if path[0] == "config"}:
        place = values
        for name in path:
            assert name in place, path
            place = place[name]
    assert {path[0] for path in used} == set(values)


def test_every_block_is_closed() -> None:
    for path in (CHART / "templates").iterdir():
        text = re.sub(r"\{\{-? */\*.*?\*/ *-?\}\}", "", path.read_text(), flags=re.S)
        words = re.findall(r"\{\{-?\s*(if|with|range|define|end)\b", text)
        assert len([word for word in words if word != "end"]) == words.count("end"), path.name
