"""HTTP to an engine: one exchange with its deadline, what an answer's status means, and when it is sent again elsewhere.

Engines load an adapter when they are asked for it, and one of several may lag behind, or end with requests in flight: behind a
load balancer the next connection leads to another. So a name that is not served, and a connection that was dropped, is tried
again on a new one before anybody hears of it. A drop is tried once: what kills an engine must not kill them all.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx

from app.kernel import tracing
from app.kernel.settings import EngineKind, Settings
from workers.engines import addresses
from workers.engines.protocol import EngineAway, ModelMissing, PromptRefused
from workers.engines.replies import REPLY_LIMIT, Answer, EngineReplyError, StreamedAnswer, parse_object

DELAYS = (0.05, 0.2, 0.5, 1.0)
"""Seconds, about, before each further try of a name that an engine did not serve."""
_TOLD = {"model": "model", "max_tokens": "max__tokens", "n": "choice_count"}
"""What a trace says of a request."""
GATEWAY = frozenset({502, 503, 504})
"""What a load balancer says in the place of an engine that has ended."""


class Refused(PromptRefused):
    """The engine itself said so; it may have meant the settings."""


class Doubt(Exception):
    """The exchange failed in a way that may be the engine's fault or the prompt's."""


class Dropped(Doubt):
    """The connection ended before the answer did."""


class Wire:
    """The connections to one endpoint, or to one of several engines; used inside one event loop.

    ``key`` is what an operator calls the API key.
    """

    def __init__(self, settings: Settings, connections: int, key: str) -> None:
        self._key = key
        self._ours = settings.engine_kind is EngineKind.VLLM
        self.root = settings.engine_url.rstrip("/") + "/"
        token = settings.engine_api_key.get_secret_value()
        spread = addresses.Spread(self.root, partial(addresses.routes, settings), connections) if self._ours else None
        self._http = httpx.AsyncClient(
            base_url=self.root,
            headers={"accept-encoding": "identity"} | ({"authorization": f"Bearer {token}"} if token else {}),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=httpx.Timeout(None, connect=5.0),  # every exchange has a deadline of its own
            trust_env=not self._ours,  # our own engine is never behind somebody's proxy
            transport=spread,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def url(self, path: str) -> str:
        """``path`` from ``/v1/``."""
        return str(self._http.base_url.join(path))

    async def exchange(
        self, method: str, path: str, body: dict[str, Any] | None, deadline: float, *, fresh: bool = False
    ) -> bytes:
        """Send and read at most REPLY_LIMIT bytes within ``deadline`` seconds, stalls included."""
        extensions = addresses.FRESH if fresh else {}
        with self._traced(path, body) as headers:
            async with (
                answering("answer", deadline),
                self._http.stream(method, path, json=body, headers=headers, extensions=extensions) as response,
            ):
                reply = await read(response)
            if response.is_success:
                return reply
            raise refusal(response.status_code, reply, self._key)

    async def find(self, path: str, deadline: float) -> dict[str, Any]:
        """The JSON object at ``path``, of another engine where one drops the connection.

        Raises:
            EngineAway, ModelMissing, Refused, EngineReplyError, Doubt: as the last that was asked.
        """
        tries = self.tries()
        while True:
            try:
                return parse_object(await self.exchange("GET", path, None, deadline, fresh=tries.again))
            except Dropped as error:
                await tries.after(error)

    async def ask(self, path: str, body: dict[str, Any], deadline: float, names: frozenset[str]) -> bytes:
        """Sample, elsewhere too; of our own engines the answer is that of one of ``names``.

        Raises:
            EngineAway, ModelMissing, Refused, EngineReplyError, Doubt: as the last that was asked.
        """
        tries = self.tries()
        while True:
            try:
                reply = await self.exchange("POST", path, body, deadline, fresh=tries.again)
                if self._ours:
                    _check(parse_object(reply).get("model"), names)
            except (ModelMissing, Dropped) as error:
                await tries.after(error)
            else:
                return reply

    async def pieces(
        self, path: str, body: dict[str, Any], deadline: float, names: frozenset[str]
    ) -> AsyncIterator[str | Answer]:
        """The same as a stream: piece by piece, and last the whole. It is not sent again once a piece has come."""
        tries, said = self.tries(), False
        while True:
            parts = StreamedAnswer()
            try:
                async for line in self._lines(path, body, deadline, fresh=tries.again):
                    piece = parts.take(line)
                    if self._ours and parts.model is not None:
                        _check(parts.model, names)
                    if piece:
                        said = True
                        yield piece
            except (ModelMissing, Dropped) as error:
                if said:
                    raise
                await tries.after(error)
            else:
                yield parts.answer()
                return

    async def _lines(self, path: str, body: dict[str, Any], deadline: float, *, fresh: bool) -> AsyncIterator[str]:
        extensions = addresses.FRESH if fresh else {}
        with self._traced(path, body) as headers:
            async with (
                answering("finish", deadline),
                self._http.stream("POST", path, json=body, headers=headers, extensions=extensions) as reply,
            ):
                if not reply.is_success:
                    raise refusal(reply.status_code, await read(reply), self._key)
                async for line in reply.aiter_lines():
                    yield line

    @contextmanager
    def _traced(self, path: str, body: dict[str, Any] | None) -> Iterator[dict[str, str]]:
        """A span, and the headers that take the trace to the engine: to ours, for another's is none of its business."""
        about = body or {}
        known = {f"gen__ai_request_{key}": about[name] for name, key in _TOLD.items() if name in about}
        with tracing.asking(path.rsplit("/", 1)[-1], **known) as headers:
            yield headers if self._ours else {}

    async def objection(self, path: str, body: dict[str, Any], deadline: float) -> str | None:
        """What the engine says against a request; None when it begins to answer, or says nothing."""
        try:
            async with asyncio.timeout(deadline), self._http.stream("POST", path, json=body) as response:
                said = None if response.is_success else refusal(response.status_code, await read(response), self._key)
        except (httpx.TransportError, TimeoutError):
            return None
        return str(said) if isinstance(said, Refused) else None

    def tries(self) -> Tries:
        """As often as one request is sent; other houses are sent each once, for they are paid by the token."""
        return Tries(DELAYS if self._ours else ())


class Tries:
    """The tries of one request; ``again`` is whether this is not the first, which needs a connection of its own."""

    def __init__(self, delays: tuple[float, ...]) -> None:
        self.again = False
        self._left = list(delays)
        self._dropped = 0

    async def after(self, error: ModelMissing | Dropped) -> None:
        """Wait for the next try; raises ``error`` where there is none."""
        self._dropped += isinstance(error, Dropped)
        if not self._left or self._dropped > 1:
            raise error
        self.again = True
        await asyncio.sleep(self._left.pop(0) * random.uniform(0.5, 1.5))  # noqa: S311 - so that all do not come at once


def _check(said: object, names: frozenset[str]) -> None:
    if said not in names:
        raise ModelMissing(f"The engine answered as {said!r} when it was asked for {min(names)!r}.")


@asynccontextmanager
async def answering(verb: str, deadline: float) -> AsyncIterator[None]:
    """Name what goes wrong on the way to the engine and back, which has ``deadline`` seconds to ``verb``."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise EngineAway("The engine does not accept connections.") from error
    except TimeoutError as error:
        raise Doubt(f"The engine did not {verb} within {deadline:.0f} s.") from error
    except httpx.TransportError as error:
        raise Dropped(f"The engine dropped the connection ({type(error).__name__}).") from error


async def read(response: httpx.Response) -> bytes:
    """The body, REPLY_LIMIT bytes at most."""
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > REPLY_LIMIT:
            raise EngineReplyError(f"The engine's reply is larger than {REPLY_LIMIT // 2**20} MB.")
        parts.append(part)
    return b"".join(parts)


def refusal(status: int, reply: bytes, key: str) -> Exception:
    """Which of the errors an HTTP status means, with what the engine said; ``key`` is what its API key is called."""
    said = _message(reply)
    if status in {401, 403}:
        return EngineAway(f"The engine refuses the API key (HTTP {status}): check {key}.")
    if status in {408, 425, 429}:
        return EngineAway(f"The engine is overloaded and asks to wait (HTTP {status}).")
    if status == 404:
        return ModelMissing(said)
    if 400 <= status < 500:
        return Refused(f"The engine refuses this prompt (HTTP {status}): {said}")
    made = Dropped if status in GATEWAY else Doubt
    return made(f"The engine answered with HTTP {status}: {said}")


def _message(reply: bytes) -> str:
    try:
        error = parse_object(reply).get("error")
        said = error.get("message") if isinstance(error, dict) else error
    except EngineReplyError:
        said = reply[:200].decode("utf-8", "replace")
    return str(said or "no reason given")[:500].replace("\x00", "")
