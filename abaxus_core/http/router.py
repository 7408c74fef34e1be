"""From a path to what answers it: a tree of the paths' parts, so no route waits for another.

A path without braces is found whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    parts: dict[str, "_Node[T]"] = field(default_factory=dict)
    braces: "_Node[T] | None" = None
    name: str = ""
    methods: dict[str, T] = field(default_factory=dict)


class Match(msgspec.Struct, Generic[T], frozen=True):
    """What stands at a path, by method, and the parts of the path that stood in braces."""

    methods: Mapping[str, T]
    path: Mapping[str, str]


class Router(Generic[T]):
    """Paths such as `/v1/metrics/{key}`; a fixed part goes before one in braces."""

    def __init__(self, routes: Iterable[tuple[str, str, T]]) -> None:
        self._root: _Node[T] = _Node()
        self._whole: dict[str, Match[T]] = {}
        for method, template, target in routes:
            self._add(method, template, target)

    def match(self, path: str) -> Match[T] | None:
        """What answers the path; None when nothing does."""
        return self._whole.get(path) or self._walk(path)

    def _walk(self, path: str) -> Match[T] | None:
        node = self._root
        found: dict[str, str] = {}
        for part in path[1:].split("/"):
            fixed = node.parts.get(part)
            if fixed is not None:
                node = fixed
            elif node.braces is not None and part:
                found[node.name] = part
                node = node.braces
            else:
                return None
        return Match(node.methods, found) if node.methods else None

    def _add(self, method: str, template: str, target: T) -> None:
        node = self._root
        for part in template[1:].split("/"):
            if not part.startswith("{"):
                node = node.parts.setdefault(part, _Node())
                continue
            name = part.strip("{}")
            assert node.name in ("", name), f"two names for one place: {template}"
            node.name, node.braces = name, node.braces or _Node()
            node = node.braces
        assert method not in node.methods, f"two routes at {method} {template}"
        node.methods[method] = target
        if "{" not in template:
            self._whole[template] = Match(node.methods, {})
