"""The manifests: what is committed is what kustomize makes, Kubernetes knows every field of it,
the pods are restricted, sized as documented, and set nothing that the product does not read.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import abaxus_core
from abaxus_core.kernel import config, environment

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
RENDER = K8S / "render"
OVERLAYS = ("dev", "production-small", "production-large")
KUBERNETES_VERSIONS = ("1.28", "1.37")  # the oldest that we promise, and the newest we can check
DRAIN_S = 75  # what a process may take to stop; kubelet must wait longer

# docs/operations.md: component → overlay → (replicas, memory, cpu).
SIZES = {
    "api": {
        "dev": (1, "256Mi", "250m"),
        "production-small": (2, "512Mi", "500m"),
        "production-large": (3, "1Gi", "1"),
    },
    "worker": {
        "dev": (1, "256Mi", "250m"),
        "production-small": (1, "512Mi", "250m"),
        "production-large": (2, "512Mi", "500m"),
    },
}

Manifest = Mapping[str, Any]


def run_render(argument: str) -> str:
    command = [str(RENDER), argument]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def rendered(overlay: str) -> Sequence[Manifest]:
    return list(yaml.safe_load_all((K8S / "rendered" / f"{overlay}.yaml").read_text()))


def secret_template() -> Manifest:
    manifest: Manifest = yaml.safe_load((K8S / "base" / "secret.template.yaml").read_text())
    return manifest


def named(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def workloads(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    return (m for m in manifests if m["kind"] in {"Deployment", "Job"})


def the_container(workload: Manifest) -> Manifest:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, Mapping)
    return container


def test_every_overlay_is_tested() -> None:
    assert sorted(OVERLAYS) == sorted(path.name for path in (K8S / "overlays").iterdir())
    assert sorted(OVERLAYS) == sorted(path.stem for path in (K8S / "rendered").iterdir())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_committed_rendering_is_current(overlay: str) -> None:
    committed = (K8S / "rendered" / f"{overlay}.yaml").read_text()
    assert run_render("--digest").strip() in committed.splitlines()[0], "run k8s/render"
    if shutil.which("kustomize") or shutil.which("kubectl"):
        assert run_render(overlay) == committed, "run k8s/render"


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str, version: str) -> None:
    policies = sorted((K8S / "components").glob("*-egress/network-policy.yaml"))
    egress = [yaml.safe_load(policy.read_text()) for policy in policies]
    for manifest in [*rendered(overlay), secret_template(), *egress]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_refused() -> None:
    service = dict(named(rendered("dev"), "Service", "abaxus-api"), specs={})
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES_VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("component", sorted(SIZES))
def test_sizes_are_the_documented_ones(component: str, overlay: str) -> None:
    replicas, memory, cpu = SIZES[component][overlay]
    deployment = named(rendered(overlay), "Deployment", f"abaxus-{component}")
    assert deployment["spec"]["replicas"] == replicas
    assert the_container(deployment)["resources"] == {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"memory": memory},
    }
    row = f"| {component} | {overlay} | {replicas} | {memory} | {cpu} |"
    assert row in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_restricted(overlay: str) -> None:
    for workload in workloads(rendered(overlay)):
        pod, container = workload["spec"]["template"]["spec"], the_container(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"] == f"abaxus:{abaxus_core.__version__}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_get_the_time_to_drain(overlay: str) -> None:
    for name in ("abaxus-api", "abaxus-worker"):
        pod = named(rendered(overlay), "Deployment", name)["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > DRAIN_S


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_are_the_configured_ones(overlay: str) -> None:
    manifests = rendered(overlay)
    (settings,) = (m["data"] for m in manifests if m["kind"] == "ConfigMap")
    for component, setting in (("api", "PORT"), ("worker", "WORKER_PORT")):
        container = the_container(named(manifests, "Deployment", f"abaxus-{component}"))
        (port,) = container["ports"]
        assert port["containerPort"] == int(settings[setting])
        (rule,) = named(manifests, "NetworkPolicy", f"{component}-ingress")["spec"]["ingress"]
        assert [p["port"] for p in rule["ports"]] == [port["containerPort"]]
        for probe in ("startupProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}
        assert container["livenessProbe"]["tcpSocket"] == {"port": port["name"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(overlay: str) -> None:
    (settings,) = (m["data"] for m in rendered(overlay) if m["kind"] == "ConfigMap")
    names = {*settings, *secret_template()["stringData"]}
    assert names <= set(environment.variables(config.Settings))
    values = {**settings, **secret_template()["stringData"]}
    config.load({**values, "API_MASTER_KEY": "k" * 32})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_leaves_but_dns_and_postgresql(overlay: str) -> None:
    policies = [m for m in rendered(overlay) if m["kind"] == "NetworkPolicy"]
    deny = named(policies, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    egress = [rule for policy in policies for rule in policy["spec"].get("egress", [])]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 5432}
    public = [
        t for rule in egress for t in rule["to"] if t.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    ]
    assert public == []
