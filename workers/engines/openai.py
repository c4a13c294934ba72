"""The client of an engine that speaks OpenAI's API.

A timeout, a 5xx and a dropped connection do not say whether the engine or the prompt is to blame, so the client asks the
engine for one token: if it answers, it was the prompt. (``/health`` answers even when vLLM hangs.) A refusal may be meant
for the prompt or for what it is sampled with, so the client sends a harmless prompt with the same settings.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import httpx

from app.kernel import tracing
from app.kernel.settings import EngineKind, Settings
from workers.engines.chat import Discontinued, Unrenderable
from workers.engines.constraining import Constraint
from workers.engines.encoders import chat_encoder
from workers.engines.protocol import Ask, EngineAway, EngineInfo, ModelMissing, PromptRefused, Reply
from workers.engines.replies import REPLY_LIMIT, Answer, EngineReplyError, StreamedAnswer, parse_answers, parse_object

PROBE_TIMEOUT = 30.0
"""A busy CPU engine beside a training run needs seconds for one token; one that hangs never answers."""
ADAPTER_TIMEOUT = 30.0
"""An adapter is read from the disk beside the engine; one that takes longer is tried again, and nothing waits for it."""
VERDICT_AGE = 2.0
"""Seconds for which one probe speaks for all requests that failed together."""
_TOLD = {"model": "model", "max_tokens": "max__tokens", "n": "choice_count"}
"""What a trace says of a request."""
REFUSAL_AGE = 60.0
"""Seconds for which one look at refused settings speaks for all prompts that are sent with them."""


class _Refused(PromptRefused):
    """The engine itself said so; it may have meant the settings."""


class _Doubt(Exception):
    """The exchange failed in a way that may be the engine's fault or the prompt's."""


@dataclass
class _Verdict:
    at: float = -VERDICT_AGE
    away: str | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def holds_for(self, doubt: float) -> bool:
        """Whether it speaks for a request that failed at ``doubt``. An engine that answered before may have died since."""
        return time.monotonic() - self.at <= VERDICT_AGE and (self.away is not None or self.at >= doubt)


class OpenAIEngine:
    """A client of one endpoint; used inside one event loop.

    ``model`` names what is asked where that is not the endpoint's to say; ``key`` is what an operator calls the API key.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connections: int | None = None,
        model: str | None = None,
        key: str = "CORRAL_ENGINE_API_KEY",
    ) -> None:
        self._settings = settings
        self._model, self._key = model, key
        self._vllm = settings.engine_kind is EngineKind.VLLM
        token = settings.engine_api_key.get_secret_value()
        limit = (connections or settings.engine_concurrency) + 4
        self._http = httpx.AsyncClient(
            base_url=settings.engine_url.rstrip("/") + "/",
            headers={"accept-encoding": "identity"} | ({"authorization": f"Bearer {token}"} if token else {}),
            limits=httpx.Limits(max_connections=limit, max_keepalive_connections=limit),
            timeout=httpx.Timeout(None, connect=5.0),  # every exchange has a deadline of its own
            trust_env=not self._vllm,  # our own engine is never behind somebody's proxy
        )
        self._info: EngineInfo | None = None
        self._asking = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._verdict = _Verdict()
        self._slots = asyncio.Semaphore(settings.engine_concurrency)
        self._refusals: dict[str, tuple[float, str | None]] = {}
        self._constraint = Constraint(settings)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def forget(self) -> None:
        """Ask the engine for its identity again before the next request."""
        self._info = None

    # ── Who it is ────────────────────────────────────────────────────────────────────────────────────────────────
    async def describe(self) -> EngineInfo:
        """Ask ``/v1/models`` and, of vLLM, ``/version``; nobody, where the model is named. Raises EngineAway."""
        if self._model is not None:  # some endpoints list nothing, others hundreds
            self._info = EngineInfo("openai-compatible", self._model, frozenset(), context=None)
            return self._info
        try:
            listed = parse_object(await self._exchange("GET", "models", None, PROBE_TIMEOUT)).get("data")
            models = [m for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []
            version = await self._version() if self._vllm else "openai-compatible"
        except (EngineReplyError, ModelMissing, PromptRefused, _Doubt) as error:
            raise EngineAway(f"The engine does not list its models: {error}") from error
        own = [model for model in models if not model.get("parent")]
        configured = self._settings.base_model
        base = next((m for m in own if m.get("id") == configured), next(iter(own), None))
        if base is None:
            raise EngineAway("The engine serves no model.")
        context = base.get("max_model_len")
        self._info = EngineInfo(
            version=version,
            base=str(base.get("id")),
            adapters=frozenset(str(model.get("id")) for model in models if model.get("parent")),
            context=context if isinstance(context, int) else None,
        )
        return self._info

    async def _version(self) -> str:
        root = str(self._http.base_url.join("../version"))
        found = parse_object(await self._exchange("GET", root, None, PROBE_TIMEOUT)).get("version")
        return f"vllm {found}"[:80]

    async def probe(self) -> EngineInfo:
        """Make the engine produce one token. Raises EngineAway."""
        info = await self.describe()
        body = {"model": info.base, "max_tokens": 1} | self._harmless()
        path = "completions" if self._vllm else "chat/completions"
        try:
            reply = parse_object(await self._exchange("POST", path, body, PROBE_TIMEOUT))
        except (EngineReplyError, ModelMissing, PromptRefused, _Doubt) as error:
            raise EngineAway(f"The engine accepts connections but does not answer: {error}") from error
        if not reply.get("choices"):
            raise EngineAway("The engine accepts connections, but its answers are empty.")
        return info

    # ── Sampling ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def sample(self, ask: Ask) -> Reply:
        """Sample ``ask.n`` answers.

        Raises:
            EngineAway, ModelMissing, EngineReplyError, PromptRefused: see the module's table.
        """
        async with self._asking:  # one question for all that start together
            info = self._info or await self.describe()
        sampling = {name: value for name, value in ask.sampling.items() if name != "seed" or self._seed_allowed}
        body: dict[str, Any] = {**sampling, "model": ask.model or info.base, "max_tokens": ask.max_tokens}
        try:
            if self._vllm:
                answers = await self._complete(ask, info, body)
            else:
                answers = await self._chat(ask, body)
        except _Doubt as error:
            await self._blame(error)
        except _Refused as error:
            await self._suspect(error, body)
        sent = {name: value for name, value in body.items() if name not in {"prompt", "messages", "tools", "n"}}
        sent.pop("return_token_ids", None)
        return Reply(answers, sent, info.version)

    @property
    def _seed_allowed(self) -> bool:
        return self._settings.engine_accepts_seed

    async def stream(self, ask: Ask) -> AsyncIterator[str | Reply]:
        """One answer piece by piece, and last the whole of it. Leaving the loop hangs up, and the engine stops writing.

        Raises:
            EngineAway, ModelMissing, EngineReplyError, PromptRefused: see the module's table.
        """
        async with self._asking:
            info = self._info or await self.describe()
        sampling = {name: value for name, value in ask.sampling.items() if name != "seed" or self._seed_allowed}
        body: dict[str, Any] = {**sampling, "model": ask.model or info.base, "max_tokens": ask.max_tokens}
        if self._vllm:
            await self._as_tokens(ask, info, body)
        else:
            body |= {"messages": ask.conversation} | ({"tools": ask.tools} if ask.tools else {})
        sent = {name: value for name, value in body.items() if name not in {"prompt", "messages", "tools"}}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        path = "completions" if self._vllm else "chat/completions"
        parts = StreamedAnswer()
        try:
            async for piece in self._pieces(path, body, parts):
                yield piece
        except _Doubt as error:
            await self._blame(error)
        except _Refused as error:
            await self._suspect(error, sent)
        yield Reply([parts.answer()], sent, info.version)

    async def _pieces(self, path: str, body: dict[str, Any], parts: StreamedAnswer) -> AsyncIterator[str]:
        with self._asking_for(path, body) as headers:
            async with (
                _answering("finish", self._settings.engine_timeout),
                self._http.stream("POST", path, json=body, headers=headers) as reply,
            ):
                if not reply.is_success:
                    raise _refusal(reply.status_code, await _read(reply), self._key)
                async for line in reply.aiter_lines():
                    if piece := parts.take(line):
                        yield piece

    async def _complete(self, ask: Ask, info: EngineInfo, body: dict[str, Any]) -> list[Answer]:
        await self._as_tokens(ask, info, body)
        body |= {"n": ask.n, "return_token_ids": True}
        timeout = self._settings.engine_timeout
        reply = await self._constraint.around(ask, body, lambda: self._exchange("POST", "completions", body, timeout))
        return parse_answers(reply, ask.n)

    async def _as_tokens(self, ask: Ask, info: EngineInfo, body: dict[str, Any]) -> None:
        """Token ids go to vLLM, so what a user typed cannot become a control token."""
        async with self._reading:  # one reads for all that start together, and answers are not held up by it
            encoder = await asyncio.to_thread(chat_encoder, self._settings.base_model_path)
        try:
            ids = encoder.encode(ask.messages, ask.tools)
            ids += encoder.continued(ask.messages, ask.steps, ask.tools).ids if ask.steps else []
        except (Unrenderable, Discontinued) as error:
            raise PromptRefused(f"This prompt cannot be sent: {error}.") from error
        if info.context is not None:
            if len(ids) >= info.context:
                raise PromptRefused(
                    f"The prompt has {len(ids):,} tokens and the model's context length is {info.context:,}: "
                    "shorten the prompt, or serve a model with a longer context."
                )
            body["max_tokens"] = min(ask.max_tokens, info.context - len(ids))
        body["prompt"] = ids

    async def _chat(self, ask: Ask, body: dict[str, Any]) -> list[Answer]:
        """Other endpoints get messages. One answer a request: their ``usage`` counts all choices together."""
        body |= {"messages": ask.conversation} | ({"tools": ask.tools} if ask.tools else {})

        async def one() -> bytes:
            async with self._slots:
                return await self._exchange("POST", "chat/completions", body, self._settings.engine_timeout)

        try:
            async with asyncio.TaskGroup() as group:  # where one fails the others are not paid for
                asked = [group.create_task(one()) for _ in range(ask.n)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [answer for task in asked for answer in parse_answers(task.result(), 1)]

    async def _blame(self, doubt: _Doubt) -> None:
        """Raise EngineAway when not even a probe is answered, else EngineReplyError: it was this request."""
        verdict, failed = self._verdict, time.monotonic()
        async with verdict.lock:
            if not verdict.holds_for(failed):
                try:
                    await self.probe()
                    verdict.away = None
                except EngineAway as error:
                    verdict.away = str(error)
                verdict.at = time.monotonic()
        if verdict.away is not None:
            raise EngineAway(verdict.away) from doubt
        raise EngineReplyError(str(doubt)) from doubt

    async def _suspect(self, refused: _Refused, body: dict[str, Any]) -> NoReturn:
        """Raise EngineAway when a harmless prompt is refused with the same settings, else the refusal itself."""
        settings = {name: value for name, value in body.items() if name not in {"prompt", "messages", "tools"}}
        key = json.dumps(settings, sort_keys=True)
        async with self._verdict.lock:
            at, said = self._refusals.get(key, (-REFUSAL_AGE, None))
            if time.monotonic() - at > REFUSAL_AGE:
                said = await self._objection(settings)
                self._refusals[key] = time.monotonic(), said
        if said is None:
            raise refused
        raise EngineAway(
            f"The engine refuses every prompt that is sent with {key}: {said} Correct this sampling setting, or pause "
            f"the batch that sets it."
        ) from refused

    async def _objection(self, settings: dict[str, Any]) -> str | None:
        """What the engine says against ``settings``; None when it begins to answer, or says nothing."""
        path = "completions" if self._vllm else "chat/completions"
        body = settings | self._harmless() | {"stream": True}  # so that the answer can be hung up on
        try:
            async with asyncio.timeout(PROBE_TIMEOUT), self._http.stream("POST", path, json=body) as response:
                refused = (
                    None if response.is_success else _refusal(response.status_code, await _read(response), self._key)
                )
        except (httpx.TransportError, TimeoutError):
            return None
        return str(refused) if isinstance(refused, _Refused) else None

    def _harmless(self) -> dict[str, Any]:
        return {"prompt": "Hi"} if self._vllm else {"messages": [{"role": "user", "content": "Hi"}]}

    # ── Adapters ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def load_adapter(self, name: str, path: str) -> None:
        """Serve the adapter in ``path`` as ``name``. Raises EngineAway, EngineReplyError with the engine's reason."""
        await self._adapter("load_lora_adapter", {"lora_name": name, "lora_path": path}, fine="already been loaded")

    async def unload_adapter(self, name: str) -> None:
        """Stop serving ``name``. Raises EngineAway, EngineReplyError with the engine's reason."""
        await self._adapter("unload_lora_adapter", {"lora_name": name}, fine="not be found")

    async def _adapter(self, path: str, body: dict[str, Any], *, fine: str) -> None:
        try:
            await self._exchange("POST", path, body, ADAPTER_TIMEOUT)
        except (ModelMissing, PromptRefused) as error:
            if fine not in str(error):
                raise EngineReplyError(str(error)) from error
        except _Doubt as error:
            raise EngineReplyError(str(error)) from error

    # ── One exchange ─────────────────────────────────────────────────────────────────────────────────────────────
    async def _exchange(self, method: str, path: str, body: dict[str, Any] | None, deadline: float) -> bytes:
        """Send and read at most REPLY_LIMIT bytes within ``deadline`` seconds, stalls included."""
        with self._asking_for(path, body) as headers:
            sent = self._http.stream(method, path, json=body, headers=headers)
            async with _answering("answer", deadline), sent as response:
                reply = await _read(response)
            if response.is_success:
                return reply
            raise _refusal(response.status_code, reply, self._key)

    @contextmanager
    def _asking_for(self, path: str, body: dict[str, Any] | None) -> Iterator[dict[str, str]]:
        """A span, and the headers that take the trace to the engine: to ours, for another's is none of its business."""
        about = body or {}
        known = {f"gen__ai_request_{key}": about[name] for name, key in _TOLD.items() if name in about}
        with tracing.asking(path.rsplit("/", 1)[-1], **known) as headers:
            yield headers if self._model is None else {}


@asynccontextmanager
async def _answering(verb: str, deadline: float) -> AsyncIterator[None]:
    """Name what goes wrong on the way to the engine and back, which has ``deadline`` seconds to ``verb``."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise EngineAway("The engine does not accept connections.") from error
    except TimeoutError as error:
        raise _Doubt(f"The engine did not {verb} within {deadline:.0f} s.") from error
    except httpx.TransportError as error:
        raise _Doubt(f"The engine dropped the connection ({type(error).__name__}).") from error


async def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > REPLY_LIMIT:
            raise EngineReplyError(f"The engine's reply is larger than {REPLY_LIMIT // 2**20} MB.")
        parts.append(part)
    return b"".join(parts)


def _refusal(status: int, reply: bytes, key: str) -> Exception:
    """Which of the errors an HTTP status means, with what the engine said; ``key`` is what its API key is called."""
    said = _message(reply)
    if status in {401, 403}:
        return EngineAway(f"The engine refuses the API key (HTTP {status}): check {key}.")
    if status in {408, 425, 429}:
        return EngineAway(f"The engine is overloaded and asks to wait (HTTP {status}).")
    if status == 404:
        return ModelMissing(said)
    if 400 <= status < 500:
        return _Refused(f"The engine refuses this prompt (HTTP {status}): {said}")
    return _Doubt(f"The engine answered with HTTP {status}: {said}")


def _message(reply: bytes) -> str:
    try:
        error = parse_object(reply).get("error")
        said = error.get("message") if isinstance(error, dict) else error
    except EngineReplyError:
        said = reply[:200].decode("utf-8", "replace")
    return str(said or "no reason given")[:500].replace("\x00", "")
