"""Which named constraint refused a row; repositories turn the name into a domain error."""

import asyncpg


def violated(error: asyncpg.IntegrityConstraintViolationError) -> str | None:
    """The name of the constraint, as the migrations give it."""
    # asyncpg sets the fields of the server's message as attributes that no type knows.
    return vars(error).get("constraint_name")
