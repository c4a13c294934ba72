"""Responses that came in a file become candidates at once, and prompts with enough of them become items.

Two different responses are enough, whatever the batch asks for: it shows as many as it asks for and no more. Nothing is generated
for such a prompt, so it needs no engine and says nothing of a model that happened to be in rotation. A prompt with one
response is asked like any other prompt, and what is generated stands beside it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.candidates.models import IMPORTED
from app.comparisons.service import RESPONSES_SHOWN, Given, compare_given
from app.kernel.copying import ENCODER, copy_rows, fresh_ids
from app.prompts.models import CHECKABLE, Batch, BatchTask, Prompt, PromptState
from app.prompts.records import ParsedPrompt
from app.prompts.responses import Response, distinct, named
from app.registry.externals import author
from app.registry.models import Deployment

_COLUMNS = (
    *("id", "prompt_id", "checkpoint_id", "deployment_id", "sample_index", "text", "finish_reason", "prompt_tokens"),
    *("completion_tokens", "sampling", "engine_version", "metadata"),
)


@dataclass(frozen=True, slots=True)
class _OfPrompt:
    """The responses of one prompt, in the order in which they are stored."""

    responses: Sequence[Response]
    language: str
    ready: bool


class OfResponses(Protocol):
    """What an import says of the responses that it brings."""

    may_train: bool
    unnamed_model: str


class GivenResponses:
    """Those of one import: taken while its prompts are stored, and recorded behind them."""

    def __init__(self, settings: OfResponses) -> None:
        self._settings = settings
        self._by_prompt: dict[bytes, _OfPrompt] = {}

    def take(self, batch: Batch, prompt: ParsedPrompt) -> bool:
        """Keep what came with ``prompt``; whether that is all that it needs."""
        if not prompt.responses:
            return False
        enough = 1 if batch.task is BatchTask.STEPS else 2
        ready = distinct(prompt.responses) >= enough
        responses = [named(each, self._settings.unnamed_model) for each in prompt.responses]
        language = prompt.language or batch.language or ""
        self._by_prompt[prompt.content_hash] = _OfPrompt(_mixed(responses, prompt.content_hash), language, ready)
        return ready

    def record(self, session: Session, user: User, batch: Batch, filename: str) -> int:
        """Store the responses as candidates of ``batch``, and make the items; how many responses there are."""
        total = sum(len(each.responses) for each in self._by_prompt.values())
        if not total:
            return 0
        authors = self._authors(session, user, filename)
        rows = select(Prompt.id, Prompt.content_hash).where(Prompt.batch_id == batch.id).order_by(Prompt.id)
        prompts = {key: digest for key, digest in session.execute(rows) if digest in self._by_prompt}
        ids = fresh_ids(session, "candidates", total)
        items: list[Given] = []
        copy_rows(session, "candidates", _COLUMNS, self._rows(batch, prompts, ids, authors, items))
        compare_given(session, batch, items)
        self._let_checks_decide(session, prompts)
        return total

    def _authors(self, session: Session, user: User, filename: str) -> dict[str, Deployment]:
        """By model, whose its responses are."""
        found = {}
        names = sorted({_model(each) for of in self._by_prompt.values() for each in of.responses})
        for name in names:
            may_train, note = self._settings.may_train, f"Imported from {filename}"[:500]
            found[name], new = author(session, name, label=IMPORTED, may_train=may_train, note=note)
            if new:
                about: dict[str, Any] = {"name": name, "file": filename, "may_train": may_train}
                audit(session, user, "checkpoint.external", "checkpoint", found[name].checkpoint_id, **about)
        return found

    def _rows(
        self,
        batch: Batch,
        prompts: dict[int, bytes],
        ids: Sequence[int],
        authors: dict[str, Deployment],
        items: list[Given],
    ) -> Iterator[tuple[Any, ...]]:
        """The candidates; what is shown of each prompt that is ready is added to ``items``."""
        fresh = iter(ids)
        owners = {name: (each.checkpoint_id, each.id) for name, each in authors.items()}
        most = 1 if batch.task is BatchTask.STEPS else min(batch.candidates_per_prompt, RESPONSES_SHOWN)
        for prompt_id, digest in prompts.items():
            of = self._by_prompt[digest]
            taken: Counter[str] = Counter()
            shown: dict[str, int] = {}
            for each in of.responses:
                key, model = next(fresh), _model(each)
                shown.setdefault(each.text.strip(), key)
                sampling = ENCODER.encode({"model": model, **each.sampling})
                said = ENCODER.encode(each.said) if each.said else None
                text = (each.text, each.finish_reason, 0, each.tokens, sampling, IMPORTED, said)
                yield (key, prompt_id, *owners[model], taken[model], *text)
                taken[model] += 1
            if of.ready:
                items.append((prompt_id, of.language, list(shown.values())[:most]))

    def _let_checks_decide(self, session: Session, prompts: dict[int, bytes]) -> None:
        """As with sampled ones: several responses that all say the same are no item; where they can be checked, checks decide."""
        alike = [key for key, digest in prompts.items() if self._is_unanimous(self._by_prompt[digest])]
        if alike:
            checkable = (
                select(Prompt.id).join(Batch, Batch.id == Prompt.batch_id).where(Prompt.id.in_(alike), CHECKABLE)
            )
            session.execute(
                update(Prompt)
                .where(Prompt.id.in_(checkable))
                .values(state=PromptState.UNANIMOUS)
                .execution_options(synchronize_session=False)
            )

    @staticmethod
    def _is_unanimous(of: _OfPrompt) -> bool:
        return not of.ready and len(of.responses) > 1


def _model(response: Response) -> str:
    """The name of a response that :func:`app.prompts.responses.named` gave one."""
    assert response.model is not None  # noqa: S101
    return response.model


def _mixed(responses: Sequence[Response], digest: bytes) -> list[Response]:
    """The responses in an order that is drawn, one of each model before the second of any: the first ones are shown.

    A file mostly has the better one first, and what is shown must not be what somebody preferred. Drawn by the prompt's
    content: a second import of the file shows the same.
    """
    drawn = list(responses)
    random.Random(digest).shuffle(drawn)  # noqa: S311 - nobody gains by guessing it
    seen: Counter[str] = Counter()
    places = []
    for each in drawn:
        places.append(seen[_model(each)])
        seen[_model(each)] += 1
    return [each for _, each in sorted(zip(places, drawn, strict=True), key=lambda pair: pair[0])]
