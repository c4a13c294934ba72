"""The judge of facts: one model of one of the operator's endpoints, asked one question at a time.

It is asked by workers, which know addresses and keys; verifiers know neither. What its words are worth is
:mod:`workers.verifiers.facts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from app.kernel.settings import Settings
from app.kernel.thinking import parted
from workers.engines.external import external_engine
from workers.engines.protocol import Ask, EngineAway, ModelMissing, PromptRefused
from workers.engines.replies import EngineReplyError
from workers.verifiers import facts
from workers.verifiers.facts import Parts
from workers.verifiers.judging import Agreement
from workers.verifiers.protocol import Case, Finding

WAITS_S: Final = 60.0
"""Seconds for one answer: other checks wait behind it."""
TOKENS: Final = 2048
"""Of an answer, thinking before it included; what needs more gives no verdict."""


@dataclass(frozen=True)
class Judge:
    """Who is asked, by ``name``: ``ENDPOINT/MODEL``, as the operator writes it."""

    settings: Settings
    name: str

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The judge of an installation; None where none is set up."""
        return cls(settings, settings.judge) if settings.judge else None

    @property
    def is_set_up(self) -> bool:
        """Whether the operator has such an endpoint."""
        return self.name.partition("/")[0] in self.settings.endpoints

    @property
    def at_once(self) -> int:
        """Questions that its endpoint takes at a time."""
        there = self.settings.endpoints.get(self.name.partition("/")[0])
        return there.concurrency if there else 1

    async def says(self, parts: Parts) -> str:
        """What it writes, without its thinking.

        Raises:
            EngineAway, ModelMissing: nobody answers now.
            EngineReplyError, PromptRefused: of this question no answer can be used.
        """
        endpoint, _, model = self.name.partition("/")
        patient = self.settings.model_copy(update={"engine_timeout": min(WAITS_S, self.settings.engine_timeout)})
        engine = external_engine(patient, endpoint, model)
        try:
            question = [{"role": "user", "content": parts.asked}]
            reply = await engine.sample(Ask(question, None, None, 1, TOKENS, {"temperature": 0}))
        finally:
            await engine.aclose()
        text = reply.answers[0].text
        thought = parted(text)
        return self._without_key(thought[1] if thought else text)

    def _without_key(self, text: str) -> str:
        """What an endpoint says, without the key that it was sent: people read it."""
        there = self.settings.endpoints.get(self.name.partition("/")[0])
        key = there.key.get_secret_value() if there else ""
        return text.replace(key, "•••") if key else text

    async def finding(self, case: Case, standing: Agreement) -> Finding:
        """What it says of a case; null, with the reason, where it says nothing that counts. Never raises."""
        if not self.is_set_up:
            return facts.not_judged(f"The endpoint of the judge, {self.name}, is not set up in CORRAL_ENDPOINTS")
        try:
            said = await self.says(facts.question_of(case))
        except ValueError as error:
            return facts.not_judged(str(error))
        except (EngineAway, ModelMissing) as error:
            return facts.not_judged(self._without_key(f"The judge, {self.name}, is away: {error}"), again=True)
        except (EngineReplyError, PromptRefused) as error:
            return facts.not_judged(self._without_key(f"The judge, {self.name}, gave no usable answer: {error}"))
        return facts.finding_of(self.name, said, standing)
