"""Headers as text, by name."""

from abaxus_core.http.headers import Headers

SENT = [(b"host", b"a"), (b"x-twice", b"1"), (b"x-twice", b"2"), (b"x-latin", b"\xe4")]


def test_they_are_what_a_dictionary_of_them_would_be() -> None:
    headers = Headers(SENT)
    assert dict(headers) == {"host": "a", "x-twice": "2", "x-latin": "ä"}
    assert len(headers) == 3
    assert "host" in headers
    assert "via" not in headers
    assert (headers.get("host"), headers.get("via"), headers.get("via", "")) == ("a", None, "")
