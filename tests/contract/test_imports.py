"""The layers of pyproject.toml hold, and no two of our modules import each other."""

from pathlib import Path

import grimp
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


def test_the_layers_hold() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_no_import_cycles() -> None:
    graph = grimp.build_graph("abaxus_core", "abaxus_plugins", cache_dir=None)
    finished: set[str] = set()
    for module in sorted(graph.modules):
        walk(graph, module, path=(), finished=finished)


def walk(
    graph: grimp.ImportGraph, module: str, *, path: tuple[str, ...], finished: set[str]
) -> None:
    assert module not in path, " → ".join((*path[path.index(module) :], module))
    if module in finished:
        return
    for imported in sorted(graph.find_modules_directly_imported_by(module)):
        walk(graph, imported, path=(*path, module), finished=finished)
    finished.add(module)
