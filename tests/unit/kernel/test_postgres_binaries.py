"""Finding PostgreSQL's binaries, and carrying them where the server's user can read them."""

import subprocess
from pathlib import Path

import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import postgres_binaries


def test_a_copy_of_the_binaries_runs_by_itself(tmp_path: Path) -> None:
    copy = postgres_binaries.copy_of(postgres_binaries.find_binaries(), tmp_path)
    done = subprocess.run(
        [copy / "initdb", "--version"],
        env={"LD_LIBRARY_PATH": str(copy.parent / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert postgres_binaries.copy_of(postgres_binaries.find_binaries(), tmp_path) == copy


def test_a_folder_without_binaries_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no PostgreSQL 14 or later to start"):
        postgres_binaries.find_binaries(tmp_path)
