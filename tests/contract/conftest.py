"""The wheel, built once, for the modules that install it into environments of their own."""

from pathlib import Path

import pytest

from tests.support import environments


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environments.build(environments.ROOT, "wheel", tmp_path_factory.mktemp("wheel"))
