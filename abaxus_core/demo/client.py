"""A caller of the HTTP API, as small as the demo needs: it raises with the API's own words."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx

PAGE_LIMIT = 500
PAGES_MAX = 1_000
TIMEOUT_S = 60


class ApiError(Exception):
    """An answer outside 2xx; `code` is the API's error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code


class ApiClient:
    """Bound to one server and key; use as a context manager."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        return _decoded(self._http.get(path, params=query))

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        return _decoded(self._http.post(path, json=body or {}))

    def create(self, path: str, body: Mapping[str, object], *, exists: str) -> None:
        """Post, and take the error code `exists` for done: a second start finds the first's."""
        try:
            self.post(path, body)
        except ApiError as error:
            if error.code != exists:
                raise

    def pages(self, path: str, **query: str | int) -> Iterator[Any]:
        """Every object of a list, newest first, page by page."""
        cursor: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = self.get(path, limit=PAGE_LIMIT, **query, **cursor)
            yield from page["data"]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}
        raise RuntimeError(f"{path} has more than {PAGES_MAX} pages")


def _decoded(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    error = response.json()["error"]
    raise ApiError(response.status_code, error["code"], error["message"])
