"""Which region, under whose credentials, by which configuration set."""

from typing import Annotated

import msgspec

from abaxus_core.plugin.settings import Token


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`session_token` comes with temporary credentials. Nothing is read from AWS's own variables,
    files or metadata service.
    """

    region: Annotated[str, msgspec.Meta(pattern="^[a-z]{2}(-[a-z]{2,9}){1,2}-[0-9]$")]
    access_key_id: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{16,128}$")]
    secret_access_key: Token
    session_token: Token | None = None
    configuration_set: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,64}$")] | None = None


def host(region: str) -> str:
    return f"email.{region}.amazonaws.com"
