"""Requests that are sent again until they are answered, and answers read as what they are."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from app.client.errors import KINDS, NoAnswer, Refused

Answer = TypeVar("Answer", bound=BaseModel)

AGAIN = frozenset({429, 502, 503, 504})
"""Answers after which the same request may succeed."""
LONGEST = 60.0
"""Seconds between two tries, at most, whatever the server asks for."""
SHOWN = 200
"""Characters of an answer that is not Corral's that an error shows."""


class Wire:
    """One connection's worth of requests. A write carries one ``Idempotency-Key`` through all its tries: it happens once."""

    def __init__(self, http: httpx.Client, tries: int) -> None:
        self._http, self._tries = http, tries

    def read(self, answer: type[Answer], method: str, path: str, **rest: Any) -> Answer:
        """Ask, and read the answer.

        Raises:
            CorralError: see :mod:`app.client.errors`.
        """
        response = self.send(method, path, **rest)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise NoAnswer(f"{method} {path}: the answer is not Corral's, or of another version: {error}") from error

    def send(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """Ask until there is an answer; it is a good one.

        Raises:
            CorralError: see :mod:`app.client.errors`.
        """
        with self.stream(method, path, **rest) as response:
            response.read()
            return response

    @contextmanager
    def stream(self, method: str, path: str, **rest: Any) -> Iterator[httpx.Response]:
        """The same, the body unread: a connection that breaks while it is read is the reader's to notice."""
        headers = dict(rest.pop("headers", {}))
        if method not in {"GET", "HEAD"}:
            headers.setdefault("idempotency-key", str(uuid.uuid4()))
        request = self._http.build_request(method, f"/api/v1{path}", headers=headers, **_without_none(rest))
        response = self._answered(request)
        try:
            if response.is_error:
                response.read()
                raise refused(response)
            if response.is_redirect:
                raise NoAnswer(f"{request.url} answers with {response.headers.get('location')}: use that address.")
            yield response
        finally:
            response.close()

    def _answered(self, request: httpx.Request) -> httpx.Response:
        for left in reversed(range(self._tries)):
            try:
                response = self._http.send(request, stream=True)
            except httpx.TransportError as error:
                if not left:
                    raise NoAnswer(f"{request.url} does not answer: {str(error) or type(error).__name__}") from error
                wait = None
            else:
                if response.status_code not in AGAIN or not left:
                    return response
                wait = _seconds(response.headers)
                response.close()
            self._pause(self._tries - left, wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _pause(self, tried: int, wait: float | None) -> None:
        # noise, so that many clients that were refused together do not come back together
        backing_off = random.uniform(0.5, 1.0) * 2.0**tried / 2  # noqa: S311 - no secret
        time.sleep(min(LONGEST, backing_off if wait is None else wait))


def refused(response: httpx.Response) -> Refused | NoAnswer:
    """What an answer that is an error says."""
    try:
        said = response.json()
        detail, errors = str(said["detail"]), [each for each in said.get("errors", []) if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError, AttributeError):
        begins = " ".join(response.text[:SHOWN].split())
        return NoAnswer(f"{response.url} answers {response.status_code}, and is not Corral's: {begins}")
    kind = KINDS.get(response.status_code, Refused)
    return kind(response.status_code, detail, errors, _seconds(response.headers))


def _seconds(headers: httpx.Headers) -> float | None:
    said = headers.get("retry-after", "")
    return float(said) if said.isdecimal() else None


def _without_none(rest: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that are not given are not sent."""
    params = rest.get("params")
    if params is None:
        return dict(rest)
    return {**rest, "params": {name: value for name, value in params.items() if value is not None}}
