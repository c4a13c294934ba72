"""The client of an engine that speaks OpenAI's API.

A timeout, a 5xx and a dropped connection do not say whether the engine or the prompt is to blame, so the client asks the
engine for one token: if it answers, it was the prompt. (``/health`` answers even when vLLM hangs.) A refusal may be meant
for the prompt or for what it is sampled with, so the client sends a harmless prompt with the same settings.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from app.kernel.settings import EngineKind, Settings
from app.registry.served import is_name
from workers.engines.chat import Discontinued, Unrenderable
from workers.engines.constraining import Constraint
from workers.engines.encoders import chat_encoder
from workers.engines.protocol import Ask, EngineAway, EngineInfo, ModelMissing, PromptRefused, Reply
from workers.engines.replies import Answer, EngineReplyError, parse_answers, parse_object
from workers.engines.sleeping import says_it_sleeps
from workers.engines.wire import Doubt, Refused, Wire

PROBE_TIMEOUT = 30.0
"""A busy CPU engine beside a training run needs seconds for one token; one that hangs never answers."""
ADAPTER_TIMEOUT = 30.0
"""An engine reads an adapter from the disk when it is asked for one; longer than this, and it is asked again later."""
VERDICT_AGE = 2.0
"""Seconds for which one probe speaks for all requests that failed together."""
REFUSAL_AGE = 60.0
"""Seconds for which one look at refused settings speaks for all prompts that are sent with them."""


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
        self._model = model
        self._vllm = settings.engine_kind is EngineKind.VLLM
        self._wire = Wire(settings, (connections or settings.engine_concurrency) + 4, key)
        self._info: EngineInfo | None = None
        self._asking = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._verdict = _Verdict()
        self._slots = asyncio.Semaphore(settings.engine_concurrency)
        self._refusals: dict[str, tuple[float, str | None]] = {}
        self._constraint = Constraint(settings)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

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
            listed = (await self._wire.find("models", PROBE_TIMEOUT)).get("data")
            models = [m for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []
            version = await self._version() if self._vllm else "openai-compatible"
        except (EngineReplyError, ModelMissing, PromptRefused, Doubt) as error:
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
            names=frozenset(str(model.get("id")) for model in own),
            root=str(base["root"]) if base.get("root") else None,
        )
        return self._info

    async def _version(self) -> str:
        found = (await self._wire.find(self._wire.url("../version"), PROBE_TIMEOUT)).get("version")
        return f"vllm {found}"[:80]

    async def probe(self) -> EngineInfo:
        """Make the engine produce one token. Raises EngineAway."""
        if self._settings.engine_sleeps and await says_it_sleeps(self._wire):
            raise EngineAway("The engine sleeps while a training uses its GPU. It answers when that is done.")
        info = await self.describe()
        try:
            await self._one_token(info.base, info.names, PROBE_TIMEOUT)
        except (EngineReplyError, ModelMissing, PromptRefused, Doubt) as error:
            raise EngineAway(f"The engine accepts connections but does not answer: {error}") from error
        return info

    async def serves(self, name: str) -> None:
        """Make it produce one token as the adapter ``name``, which it loads for that.

        Raises:
            EngineAway: nobody answers.
            EngineReplyError: it does not serve the adapter, with its reason.
        """
        try:
            await self._one_token(name, frozenset({name}), ADAPTER_TIMEOUT)
        except (ModelMissing, PromptRefused, Doubt) as error:
            raise EngineReplyError(str(error)) from error

    async def _one_token(self, model: str, names: frozenset[str], deadline: float) -> None:
        body = {"model": model, "max_tokens": 1} | self._harmless()
        reply = parse_object(await self._wire.ask(self._path, body, deadline, names))
        if not reply.get("choices"):
            raise EngineReplyError("its answers are empty")

    @property
    def _path(self) -> str:
        return "completions" if self._vllm else "chat/completions"

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
        except Doubt as error:
            await self._blame(error)
        except Refused as error:
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
        timeout, names = self._settings.engine_timeout, self._named(ask, info)
        try:
            async for piece in self._wire.pieces(self._path, body, timeout, names):
                yield Reply([piece], sent, info.version) if isinstance(piece, Answer) else piece
        except Doubt as error:
            await self._blame(error)
        except Refused as error:
            await self._suspect(error, sent)

    def _named(self, ask: Ask, info: EngineInfo) -> frozenset[str]:
        """As what the answer may come; raises EngineReplyError where the engine could take the name for a path."""
        if ask.model is None or not self._vllm:
            return info.names or frozenset({info.base})
        if not is_name(ask.model):
            raise EngineReplyError(f"{ask.model!r} is not the name of an adapter: it is not asked for.")
        return frozenset({ask.model})

    async def _complete(self, ask: Ask, info: EngineInfo, body: dict[str, Any]) -> list[Answer]:
        await self._as_tokens(ask, info, body)
        body |= {"n": ask.n, "return_token_ids": True}
        timeout, names = self._settings.engine_timeout, self._named(ask, info)
        reply = await self._constraint.around(ask, body, lambda: self._wire.ask("completions", body, timeout, names))
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
                return await self._wire.exchange("POST", "chat/completions", body, self._settings.engine_timeout)

        try:
            async with asyncio.TaskGroup() as group:  # where one fails the others are not paid for
                asked = [group.create_task(one()) for _ in range(ask.n)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [answer for task in asked for answer in parse_answers(task.result(), 1)]

    async def _blame(self, doubt: Doubt) -> None:
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

    async def _suspect(self, refused: Refused, body: dict[str, Any]) -> NoReturn:
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
        body = settings | self._harmless() | {"stream": True}  # so that the answer can be hung up on
        return await self._wire.objection(self._path, body, PROBE_TIMEOUT)

    def _harmless(self) -> dict[str, Any]:
        return {"prompt": "Hi"} if self._vllm else {"messages": [{"role": "user", "content": "Hi"}]}

    # ── Adapters ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def unload_adapter(self, name: str) -> None:
        """Stop serving ``name``. Raises EngineAway, EngineReplyError with the engine's reason."""
        try:
            await self._wire.exchange("POST", "unload_lora_adapter", {"lora_name": name}, ADAPTER_TIMEOUT)
        except (ModelMissing, PromptRefused) as error:
            if "not be found" not in str(error):
                raise EngineReplyError(str(error)) from error
        except Doubt as error:
            raise EngineReplyError(str(error)) from error
