"""Secrets stay secret wherever they are shown."""

import msgspec
import pytest

from abaxus_core.plugin.settings import HostName, Secret, Token


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


@pytest.mark.parametrize("text", ["key\n", "two words", "schlüssel", "", "x" * 5000])
def test_a_token_that_no_header_can_carry_is_refused_unseen(text):
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        Token(text)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize("text", ["mail", "Mail.Example.com", "10.0.0.25", "a" * 63 + ".example"])
def test_a_host_name_is_lower_case(text):
    assert HostName(text) == text.lower()


@pytest.mark.parametrize(
    "text", ["", "smtp://mail", "mail:25", "mail.", "-mail", "a b", "mail\n", "a" * 64, "é.example"]
)
def test_what_is_no_host_name(text):
    with pytest.raises(ValueError, match="must be a host name"):
        HostName(text)
