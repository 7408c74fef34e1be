"""Secrets stay secret wherever they are shown."""

import msgspec
import pytest

from abaxus_core.plugin.settings import Secret


class Holder(msgspec.Struct):
    key: Secret


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret("hunter2")

    assert secret.reveal() == "hunter2"
    for shown in (repr(secret), str(secret), f"{secret}", repr(Holder(key=secret)), "%s" % secret):  # noqa: UP031
        assert "hunter2" not in shown
        assert "***" in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(Holder(key=secret))


def test_secrets_compare_by_value():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
