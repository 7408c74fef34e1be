"""The documentation names everything that the code offers, and nothing that it does not."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import abaxus_core
import abaxus_core.services
import abaxus_core.worker
from abaxus_core.http import error_codes, routes
from abaxus_core.kernel import config, environment, plugin_manager
from abaxus_core.kernel.queue import JobKind
from abaxus_core.plugin import email, hookspecs, payments
from abaxus_core.services.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OPERATIONAL_PATHS = ("/healthz", "/metrics", "/openapi.json", "/docs")
ERROR_CODE = re.compile(r"[A-Z]+(_[A-Z]+)+|INTERNAL|CONFLICT|UNAUTHENTICATED")
OUR_METRIC = re.compile(r"`(abaxus_[a-z]+_[a-z_]+)(?=[`{])")


def first_cells(document: str, pattern: str) -> set[str]:
    """What stands in backticks in the first column of a document's tables, where it fits."""
    rows = re.findall(r"^\|\s*`([^`]+)`", (DOCS / document).read_text(), re.MULTILINE)
    return {cell for cell in rows if re.fullmatch(pattern, cell)}


def core_settings() -> set[str]:
    return set(environment.variables(config.Settings))


def plugin_settings() -> dict[str, set[str]]:
    """Of each plugin that we ship, the variables it reads."""
    found: dict[str, set[str]] = {}
    ours = (one for one in plugin_manager.installed() if one.distribution == "abaxus")
    for plugin in ours:
        module = plugin.entry_point.load()
        descriptors = [
            descriptor for hook in hooks() for descriptor in getattr(module, hook, list)()
        ]
        found[plugin.name] = {
            name
            for descriptor in descriptors
            for name in environment.variables(
                descriptor.settings, prefix=plugin_manager.settings_prefix(descriptor.name)
            )
        }
    return found


def hooks() -> list[str]:
    return [name for name, value in vars(hookspecs).items() if hasattr(value, "abaxus_spec")]


def methods(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def job_kinds() -> set[str]:
    return {
        value.name
        for package in (abaxus_core.services, abaxus_core.worker)
        for module in modules(package)
        for value in vars(module).values()
        if isinstance(value, JobKind)
    }


def codes_raised() -> set[str]:
    core = Path(abaxus_core.__file__).parent
    folders = ("domain", "repositories", "services", "http")
    files = [
        core / "errors.py",
        *(file for name in folders for file in (core / name).rglob("*.py")),
    ]
    return {
        node.value
        for file in files
        if file != Path(error_codes.__file__)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and ERROR_CODE.fullmatch(node.value)
    } - core_settings()


def metrics() -> set[str]:
    families = re.findall(r"^# TYPE (\w+) ", Telemetry().exposition().decode(), re.MULTILINE)
    return set(families)


def test_settings() -> None:
    documented = first_cells("configuration.md", r"[A-Z][A-Z_]+")
    of_plugins = set().union(*plugin_settings().values())
    assert core_settings() <= documented
    assert documented <= core_settings() | of_plugins


def test_plugins_describe_their_settings() -> None:
    for name, variables in plugin_settings().items():
        text = (ROOT / "abaxus_plugins" / name / "README.md").read_text()
        assert {variable for variable in variables if f"`{variable}`" not in text} == set()


def test_the_contract_of_plugins() -> None:
    text = (DOCS / "plugins.md").read_text()
    offered = [*hooks(), *methods(payments.PaymentProvider), *methods(email.EmailSender)]
    assert hooks() == ["register_payment_providers", "register_email_senders"]
    assert [name for name in offered if f"`{name}" not in text] == []


def test_routes() -> None:
    documented = first_cells("api.md", r"(GET|POST|PATCH|DELETE) /\S*")
    resources = {f"{one.method} {one.path}" for one in routes.ENDPOINTS}
    assert documented == resources | {f"GET {path}" for path in OPERATIONAL_PATHS}


def test_error_codes() -> None:
    """docs/errors.md is held against the same table by tests/contract/test_errors_documented.py."""
    assert codes_raised() == set(error_codes.RAISED_AS)


def test_job_kinds() -> None:
    assert job_kinds() != set()
    assert first_cells("operations.md", r"[a-z_]+\.[a-z_]+") == job_kinds()


def test_metrics_that_operators_are_told_of_exist() -> None:
    told = OUR_METRIC.findall((DOCS / "operations.md").read_text())
    bare = {re.sub(r"_(total|count|bucket|sum)$", "", name) for name in told}
    assert bare <= {re.sub(r"_total$", "", name) for name in metrics()}
    assert told != []


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == abaxus_core.__version__


def markdown() -> list[Path]:
    return sorted(
        [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "abaxus_plugins").rglob("*.md")]
    )


@pytest.mark.parametrize("document", markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


FAILURE_POINTS = re.findall(
    r"^\| (F\d+) \|.*\| ([^|]+) \|$",
    (DOCS / "decisions" / "0008-charge-protocol.md").read_text(),
    re.MULTILINE,
)
TOLD_BY = {
    "kill": ("fault/test_kill_points.py", "support/payment_process.py"),
    "fault": ("fault/test_charging.py",),
    "providers": ("fault/test_payment_providers.py",),
    "charging": ("integration/test_charging.py",),
}


def test_every_failure_point_of_a_charge_is_in_the_table() -> None:
    assert [point for point, _ in FAILURE_POINTS] == [f"F{number}" for number in range(1, 24)]


@pytest.mark.parametrize(("point", "proof"), FAILURE_POINTS)
def test_what_proves_a_failure_point_is_there(point: str, proof: str) -> None:
    assert proof != "none" or point == "F23", "nothing proves it"
    for said in proof.split(";"):
        files = TOLD_BY.get(said.split()[0], ())
        text = "".join((ROOT / "tests" / file).read_text() for file in files)
        for word in re.findall(r"`([^`…]+)…?`", said):
            assert word in text or (ROOT / word).exists(), word
