"""The worked examples in the domain's docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

from abaxus_core import domain

MODULES = sorted(module.name for module in pkgutil.iter_modules(domain.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"{domain.__name__}.{name}")
    assert doctest.testmod(module).failed == 0


def test_the_formulae_have_examples() -> None:
    shown = {"decimals", "money", "periods", "aggregation", "pricing", "proration", "invoices"}
    for name in shown:
        assert doctest.testmod(importlib.import_module(f"{domain.__name__}.{name}")).attempted
