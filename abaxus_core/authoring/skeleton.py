"""Writes a new plugin: a whole distribution whose tests run, and pass but for what is to fill in.

It speaks to a made-up service under a name that leads nowhere (`.example`, RFC 2606), so that the
checks pass before anything is changed, and tell what a change broke.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import jinja2

from abaxus_core import __version__
from abaxus_core.errors import InvalidInput
from abaxus_core.kernel import plugin_manager

Kind = Literal["payment", "email"]

_TEMPLATES: Final = Path(__file__).with_name("templates")
_SUFFIX: Final = ".jinja"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_NAME_LENGTH_MAX: Final = 57
"""With the prefix of the distribution, the 64 characters that a provider's name may have."""

_environment = jinja2.Environment(
    autoescape=jinja2.select_autoescape(default_for_string=False),  # it is Python, and no HTML
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)


def write(name: str, kind: Kind, folder: Path) -> list[Path]:
    """The files written into `folder`, which is new or empty. Raises InvalidInput."""
    _check(name, folder)
    return [_write_one(folder / path, text) for path, text in files(name, kind)]


def files(name: str, kind: Kind) -> Iterator[tuple[Path, str]]:
    """Path and content of each file of the skeleton."""
    values = _values(name)
    for part in ("common", kind):
        root = _TEMPLATES / part
        for template in sorted(root.rglob(f"*{_SUFFIX}")):
            path = template.relative_to(root).as_posix().removesuffix(_SUFFIX)
            text = _environment.from_string(template.read_text("utf-8")).render(values)
            yield Path(path.replace("PACKAGE", values["package"])), text


def distribution_of(name: str) -> str:
    return f"abaxus-{name}"


def _check(name: str, folder: Path) -> None:
    if _NAME.fullmatch(name) is None or len(name) > _NAME_LENGTH_MAX:
        raise InvalidInput(
            f"{name!r} is no name for a plugin: lower-case letters, digits and single dashes,"
            f" at most {_NAME_LENGTH_MAX}",
        )
    taken = {plugin.name: plugin.distribution for plugin in plugin_manager.installed()}
    if name in taken:
        raise InvalidInput(f"{taken[name]} already brings a plugin {name!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is there already, and not empty")


def _values(name: str) -> dict[str, str]:
    distribution = distribution_of(name)
    words = name.split("-")
    return {
        "name": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "class_name": "".join(word.capitalize() for word in words),
        "title": " ".join(word.capitalize() for word in words),
        "prefix": plugin_manager.settings_prefix(name),
        "abaxus_version": __version__,
    }


def _write_one(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path
