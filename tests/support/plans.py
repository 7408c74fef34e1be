"""What PostgreSQL says of how it runs a statement."""

from typing import Any


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan in JSON, from this one down."""
    return [node, *(inner for child in node.get("Plans", []) for inner in walk(child))]
