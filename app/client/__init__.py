"""A client of Corral's API for programs and notebooks. It needs httpx and pydantic, and nothing else of Corral.

::

    from app.client import Client

    corral = Client("http://127.0.0.1:8000", token="corral_…")
    batch = corral.create_batch("prompts.jsonl", name="First", candidates_per_prompt=2)
    corral.wait_for_responses(batch.id)
    while (item := corral.next_item(batch.id)) is not None:
        corral.submit(item, outcome="ranked", ranking=[["A"], ["B"]], strengths=[3])
    corral.export("preferences.jsonl", shape="trl")

Every method names the role that it needs where that is not an annotator's. What went wrong is a :class:`CorralError`.
"""

from app.client.client import Client
from app.client.errors import (
    BadInput,
    Conflict,
    CorralError,
    Forbidden,
    NoAnswer,
    NotFound,
    SignedOut,
    TooLarge,
    TooMany,
    Unavailable,
)

__all__ = [
    "BadInput",
    "Client",
    "Conflict",
    "CorralError",
    "Forbidden",
    "NoAnswer",
    "NotFound",
    "SignedOut",
    "TooLarge",
    "TooMany",
    "Unavailable",
]
