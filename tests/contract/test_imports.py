"""The layers of pyproject.toml hold, and no two of our modules import each other."""

import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]


def test_the_layers_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(  # a process of its own: it reconfigures logging
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


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
