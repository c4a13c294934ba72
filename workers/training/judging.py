"""The word of an admitted judge of facts in trainings, where the checks themselves ask nobody."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Self

from app.findings import judging
from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.kernel.thinking import parted
from workers.engines.judge import Judge
from workers.verifiers import facts
from workers.verifiers.judging import Agreement
from workers.verifiers.protocol import Case, Finding


@dataclass
class Word:
    """What an admitted judge says; ``away`` is why it could not be asked the last time that it could not."""

    judge: Judge
    standing: Agreement
    away: str | None = None

    @classmethod
    def admitted(cls) -> tuple[Self | None, str | None]:
        """Of the judge of this installation; or why there is none that may decide."""
        settings = get_settings()
        judge = Judge.of(settings)
        if judge is None:
            return None, "no judge of facts is set up (CORRAL_JUDGE)"
        if not judge.is_set_up:
            return None, f"the endpoint of {judge.name} is not set up in CORRAL_ENDPOINTS"
        with session_scope() as session:
            standing = Agreement(*judging.agreement(session, judge.name))
        return (cls(judge, standing), None) if standing.decides_alone else (None, facts.waits(judge.name, standing))

    async def of(self, case: Case) -> Finding:
        """Its finding of a case, whose thinking it is not shown; null where it gives none."""
        thought = parted(case.response)
        found = await self.judge.finding(replace(case, response=thought[1]) if thought else case, self.standing)
        if found.again:
            self.away = found.message
        return found

    def instead(self, case: Case, found: list[Finding]) -> list[Finding]:
        """The findings with its word in place of the one about facts; it is not asked of what failed another check."""
        if not any(each.verifier == facts.NAME for each in found) or any(each.passed is False for each in found):
            return found
        said = asyncio.run(self.of(case))
        return [said if each.verifier == facts.NAME else each for each in found]
