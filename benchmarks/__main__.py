"""`python -m benchmarks`: the names of the benchmarks, one a line, for `make bench`.

A benchmark is a module of this package with a `main` function.
"""

import importlib
import pkgutil

import benchmarks


def names() -> list[str]:
    """Return the benchmarks in alphabetical order."""
    modules = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    return [name for name in sorted(modules) if name != "__main__" and _is_benchmark(name)]


def _is_benchmark(name: str) -> bool:
    return hasattr(importlib.import_module(f"{benchmarks.__name__}.{name}"), "main")


if __name__ == "__main__":
    print("\n".join(names()))
