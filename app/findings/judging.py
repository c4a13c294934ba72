"""The judge of facts and people: what they label, how far the two agree, and whether the judge may decide.

People see a response with its source, never the judge's verdict. They are given responses in the order of a hash, whatever was
found, so that what they label stands for the rest. A label is of a case (prompt, response, source), and so holds for whichever
judge is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import false, func, select, text
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.accounts.service import audit
from app.candidates.models import Candidate
from app.comparisons.claims import in_work, mark_read
from app.findings.models import STANDS, Check, FactLabel, Finding, Verdict
from app.kernel.errors import NotFound
from app.kernel.intervals import wilson
from app.kernel.locales import gettext as _
from app.kernel.locales import number, percent
from app.kernel.settings import get_settings
from app.kernel.thinking import parted
from app.prompts.models import Prompt

FACTS: Final = "facts"
"""The verifier whose findings are a judge's."""
ENOUGH: Final = 0.8
"""What the whole interval of agreement must lie above; as in ``workers/verifiers/judging.py``, and a test holds the two equal."""
FEWEST_LABELS: Final = 50


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a judge agrees with people. A response of which it gave no verdict is one on which it does not."""

    judge: str
    agreed: int
    labels: int

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true agreement lies, at 95%, between 0 and 1."""
        return wilson(self.agreed, self.labels)

    @property
    def admitted(self) -> bool:
        """Whether its verdicts count."""
        return self.labels >= FEWEST_LABELS and self.interval[0] > ENOUGH

    @property
    def words(self) -> str:
        """For people: how far it agrees, and what follows."""
        if not self.labels:
            return _("Nobody has labelled an answer that it judged; {n} are the least.", n=FEWEST_LABELS)
        low, high = self.interval
        said = _(
            "It agrees with people on {agreed} of {labels} answers ({low} to {high}).",
            agreed=number(self.agreed),
            labels=number(self.labels),
            low=percent(low),
            high=percent(high),
        )
        if self.admitted:
            follows = _("It is admitted: its verdicts count.")
        elif self.labels < FEWEST_LABELS:
            follows = _("It is not yet admitted: {n} labels are the least.", n=FEWEST_LABELS)
        else:
            follows = _("It is not admitted: the whole interval must lie above {share}.", share=percent(ENOUGH))
        return f"{said} {follows}"


@dataclass(frozen=True, slots=True)
class Labelling:
    """A response that somebody is asked about."""

    finding_id: int
    source: str
    question: str
    answer: str


_AGREEMENT = text("""
    WITH said AS (
        SELECT DISTINCT ON (findings.case_hash) findings.case_hash, fact_labels.verdict
          FROM fact_labels JOIN findings ON findings.id = fact_labels.finding_id
         ORDER BY findings.case_hash, fact_labels.id DESC)
    SELECT count(*) FILTER (WHERE judged.verdict = said.verdict), count(*)
      FROM said CROSS JOIN LATERAL (
        SELECT evidence ->> 'verdict' AS verdict FROM findings
         WHERE findings.verifier = 'facts' AND findings.case_hash = said.case_hash AND evidence ->> 'judge' = :judge
         ORDER BY findings.id DESC LIMIT 1) AS judged
""")


def agreement(session: Session, judge: str) -> tuple[int, int]:
    """On how many labelled responses a judge says what people say, and how many labelled ones it has judged."""
    agreed, labels = session.execute(_AGREEMENT, {"judge": judge}).one()
    return agreed, labels


def standing(session: Session) -> Standing | None:
    """Of the judge that the operator has chosen; None where there is none."""
    judge = get_settings().judge
    return Standing(judge, *agreement(session, judge)) if judge else None


def next_unlabelled(session: Session, reader: User) -> Labelling | None:
    """The next response that the judge has judged and nobody has labelled; none that the reader is judging.

    Shown is read: a source says what is right, so the reader is not given the prompt to judge any more.
    """
    earlier = aliased(Finding)
    labelled = (
        select(FactLabel.id)
        .join(earlier, earlier.id == FactLabel.finding_id)
        .where(earlier.verifier == FACTS, earlier.case_hash == Finding.case_hash)
    )
    query = (
        _labelling()
        .where(
            Finding.evidence["judge"].astext == get_settings().judge,
            Prompt.id.not_in(in_work(reader.id)),
            ~labelled.exists(),
        )
        .order_by(Finding.case_hash, Finding.id)
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    mark_read(session, reader.id, [row.prompt_id])
    return _read(row)


def label(session: Session, user: User, finding_id: int, verdict: Verdict) -> FactLabel:
    """Record what somebody says of a response; the latest word on it counts.

    Raises:
        NotFound: it is no finding of a response's facts, or of an item that this person is judging.
    """
    found = _labelling().where(Finding.id == finding_id, Prompt.id.not_in(in_work(user.id)))
    if session.execute(found).one_or_none() is None:
        raise NotFound(_("This is no answer whose facts can be labelled."))
    said = FactLabel(finding_id=finding_id, verdict=verdict, labelled_by_id=user.id)
    session.add(said)
    session.flush()
    audit(session, user, "finding.label", "finding", finding_id, verdict=verdict.value)
    return said


def by_another(judge: str) -> Any:
    """Whether what was found of a check's facts is the word of another judge than this; of none where there is none now."""
    if not judge:
        return false()
    another = Finding.evidence["judge"].astext != judge
    return select(Finding.id).where(STANDS, Finding.verifier == FACTS, another).exists()


def _labelling() -> Any:
    """Findings of the facts of responses by a judge that was asked, with what they are about."""
    return (
        select(
            Finding.id,
            Prompt.id.label("prompt_id"),
            Prompt.messages,
            Prompt.reference,
            Prompt.tests,
            Candidate.text,
        )
        .join(Check, STANDS)
        .join(Prompt, Prompt.id == Check.prompt_id)
        .join(Candidate, Candidate.id == Finding.candidate_id)
        .where(Finding.verifier == FACTS, func.jsonb_exists(Finding.evidence, "judge"))
    )


def _read(row: Any) -> Labelling:
    tests = row.tests if isinstance(row.tests, list) else [row.tests]
    facts = [test for test in tests if isinstance(test, dict) and test.get("kind") == FACTS]
    sources = [str(test.get("source", row.reference)) for test in facts]
    turns = [
        (each["role"], each.get("content") or "") for each in row.messages if each["role"] in {"user", "assistant"}
    ]
    spoken = [said for _, said in turns] if len(turns) == 1 else [f"{role}: {said}" for role, said in turns]
    thought = parted(row.text)
    return Labelling(row.id, "\n\n".join(sources), "\n\n".join(spoken), thought[1] if thought else row.text)
