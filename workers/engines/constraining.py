"""Whether the engine is held to calls that can be read, and what is done where it will not be."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from app.kernel.settings import Settings
from workers.engines.encoders import chat_encoder
from workers.engines.protocol import Ask, PromptRefused
from workers.tools.constraint import structural_tag

log = structlog.get_logger()

FIELD = "structured_outputs"
"""Of a request, as vLLM names it."""
NOTED = "constrained_calls"
"""Of the sampling that is stored with a response: whether its calls were constrained; false where the engine refused that."""


class Constraint:
    """Adds the constraint to requests with tools, where the operator wants it and the model writes calls in tags.

    What is sampled under it is stored, and trained, as it was sampled.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refused: set[bytes] = set()

    async def around(self, ask: Ask, body: dict[str, Any], send: Callable[[], Awaitable[bytes]]) -> bytes:
        """The reply to ``body``, sent as it is where the engine refuses it with the constraint; ``body`` notes which.

        Raises:
            Exception: whatever ``send`` raises without a constraint, and but for a refusal also with one.
        """
        tag = self._tag(ask)
        if tag is None:
            return await send()
        name = hashlib.sha256(tag.encode()).digest()
        if name not in self._refused:
            body[FIELD] = {"structural_tag": tag}
            try:
                reply = await send()
            except PromptRefused as refused:
                del body[FIELD]
                reply = await send()  # where this is refused as well, the constraint was not to blame
                self._refused.add(name)
                log.warning("constraint_refused", reason=str(refused), refused=len(self._refused))
            else:
                del body[FIELD]
                body[NOTED] = True
                return reply
        else:
            reply = await send()
        body[NOTED] = False
        return reply

    def _tag(self, ask: Ask) -> str | None:
        if not self._settings.engine_constrains_calls or not ask.tools:
            return None
        return structural_tag(ask.tools) if chat_encoder(self._settings.base_model_path).calls_in_tags else None
