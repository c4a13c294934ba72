"""The encoder of the engine's base model, read once a process, and not again at once where it could not be."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from workers.engines.chat import ChatEncoder, NoChatTemplate
from workers.engines.protocol import EngineAway

ENCODER_RETRY = 30.0
"""Seconds after which a tokeniser that could not be read is tried again: a hub may be away, and asking it takes long."""

_unreadable: dict[str, tuple[float, str]] = {}


def chat_encoder(model: str) -> ChatEncoder:
    """The encoder of a base model; reading its tokeniser costs a tenth of a second, once a process.

    Raises:
        EngineAway: it cannot be read, for whatever reason. That holds for every prompt and is the fault of none.
    """
    failed_at, reason = _unreadable.get(model, (-ENCODER_RETRY, ""))
    if time.monotonic() - failed_at < ENCODER_RETRY:
        raise EngineAway(reason)
    try:
        return _read_encoder(model)
    except Exception as error:  # tokenizers and the hub's client raise what they like
        _unreadable[model] = time.monotonic(), _why_unreadable(model, error)
        raise EngineAway(_unreadable[model][1]) from error


@lru_cache(maxsize=2)
def _read_encoder(model: str) -> ChatEncoder:
    return ChatEncoder(model)


def _why_unreadable(model: str, error: Exception) -> str:
    if isinstance(error, NoChatTemplate):
        return str(error)
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    remedy = "complete its folder" if Path(model).is_dir() else "check CORRAL_BASE_MODEL and the connection to the hub"
    return f"The tokeniser of {model} cannot be read: {remedy}. ({said})"
