"""docs/plugins.md shows what `abaxus plugins new` writes. That this passes the checks of the kit,
in an environment of its own, is test_stranger.py's.
"""

import re
import tomllib
from pathlib import Path

import pytest

from abaxus_core.authoring import skeleton
from tests.support import what_leaves

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
SHOWN = dict(re.findall(r"`([^`]+)`, whole:\n\n```python\n(.*?)```", PAGE, re.DOTALL))
WRITTEN = {
    str(path): text
    for name, kind in (("acme", "payment"), ("acme-mail", "email"))
    for path, text in skeleton.files(name, kind)
}


def test_both_kinds_are_shown() -> None:
    assert set(SHOWN) == {
        "src/abaxus_acme/__init__.py",
        "src/abaxus_acme/provider.py",
        "src/abaxus_acme/wire.py",
        "tests/test_abaxus_acme.py",
        "src/abaxus_acme_mail/sender.py",
        "tests/test_abaxus_acme_mail.py",
    }


@pytest.mark.parametrize("path", SHOWN)
def test_the_page_shows_what_is_written(path: str) -> None:
    assert SHOWN[path] == WRITTEN[path]


def test_the_entry_point_is_the_one_that_is_written() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    _, project = next(iter(skeleton.files("acme", "payment")))
    written = tomllib.loads(project)["project"]["entry-points"]
    assert tomllib.loads(shown)["project"]["entry-points"] == written


def test_every_plugin_that_comes_with_us_is_listed() -> None:
    listed = re.findall(r"^\| (\w+) \| (?:payment|email) \|", PAGE, re.MULTILINE)
    assert set(listed) == what_leaves.shipped()


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_nothing_of_the_template_is_left(text: str) -> None:
    assert "{{" not in text
    assert "}}" not in text.replace("}}}", "")
    assert "PACKAGE" not in text
