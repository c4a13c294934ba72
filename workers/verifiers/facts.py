"""Facts: whether a response agrees with a source, by the word of a model that people have measured.

A test is ``{"kind": "facts", "source": text}``; without a source it is the prompt's ``reference``. A check has no network and no
keys, so what is here asks nobody: a worker that knows the operator's endpoints asks the judge (:mod:`workers.engines.judge`), and
:func:`finding_of` says what its words are worth. Where nobody asks, the finding is null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from workers.verifiers.judging import FEWEST_LABELS, Agreement, Verdict, asked, read, speaks_for_itself
from workers.verifiers.protocol import LIMIT_S, Case, Finding, unchecked

NAME: Final = "facts"
VERSION: Final = "1"
NOBODY: Final = "No judge is asked here"
SPEAKS: Final = "The response holds a verdict of its own, so a judge may only repeat it"
MOST_SAID: Final = 500
"""Characters of a judge's words that are kept where they are no verdict."""
_WORDS: Final = {
    Verdict.CORRECT: "agrees with the source",
    Verdict.INCORRECT: "does not agree with the source",
    Verdict.NOT_ATTEMPTED: "claims nothing that could be held against the source",
}
_PASSED: Final = {Verdict.CORRECT: True, Verdict.INCORRECT: False, Verdict.NOT_ATTEMPTED: None}


class Facts:
    """What a response claims, held against a source."""

    name = NAME
    version = VERSION
    limit_s = LIMIT_S

    def applies(self, case: Case) -> bool:
        """Whether the case has tests of this kind: a judge costs money, so nobody is asked unasked."""
        return bool(case.tests_of("facts"))

    def check(self, case: Case) -> Finding:
        """Null, with the reason: that the test is none, or that nobody is asked."""
        try:
            question_of(case)
        except ValueError as error:
            return unchecked(self, str(error))
        return unchecked(self, NOBODY)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a judge is shown."""

    source: str
    question: str
    answer: str

    @property
    def asked(self) -> str:
        """As it is asked."""
        return asked(self.source, self.question, self.answer)


def question_of(case: Case) -> Parts:
    """What a judge is asked of a case.

    Raises:
        ValueError: it is not to be asked; the message says why.
    """
    sources = sources_of(case)
    if speaks_for_itself(case.response):
        raise ValueError(SPEAKS)
    turns = [each for each in case.prompt if each.get("role") in {"user", "assistant"}]
    texts = [str(each.get("content") or "") for each in turns]
    spoken = [f"{each['role']}: {text}" for each, text in zip(turns, texts, strict=True)]
    question = texts[0] if len(texts) == 1 else "\n\n".join(spoken)
    return Parts("\n\n".join(sources), question, case.response)


def sources_of(case: Case) -> list[str]:
    """What responses to a case are held against.

    Raises:
        ValueError: there is none.
    """
    sources = [test.get("source", case.reference) for test in case.tests_of("facts")]
    if not sources or not all(isinstance(each, str) and each.strip() for each in sources):
        raise ValueError('A test of facts needs a "source", or a prompt with a reference.')
    return [str(each) for each in sources]


def finding_of(judge: str, said: str, standing: Agreement) -> Finding:
    """What the words of a judge are worth, who agrees with people as far as ``standing`` says.

    Before people have found that it may decide alone, its verdict is kept as evidence and counts for nothing. A response that
    claims nothing is neither right nor wrong.
    """
    judged = read(said)
    if judged is None:
        return _finding(None, f"{judge} gave no verdict", {"judge": judge, "said": said[:MOST_SAID]})
    evidence = {"judge": judge, "verdict": judged.verdict.value, "informative": judged.informative}
    if not standing.decides_alone:
        return _finding(None, waits(judge, standing), evidence)
    return _finding(_PASSED[judged.verdict], f"The response {_WORDS[judged.verdict]}, says {judge}", evidence)


def waits(judge: str, standing: Agreement) -> str:
    """Why a judge that is not admitted decides nothing."""
    if standing.labels < FEWEST_LABELS:
        return f"{judge} is not yet admitted: {standing.labels} of {FEWEST_LABELS} labels"
    return f"{judge} is not admitted: it {standing.words()}"


def not_judged(why: str, *, again: bool = False) -> Finding:
    """The finding where no judge could be asked, and whether one may be later."""
    return unchecked(Facts(), why, again=again)


def _finding(passed: bool | None, message: str, evidence: dict[str, Any]) -> Finding:  # noqa: FBT001 - the finding itself
    return Finding(NAME, VERSION, passed, message, evidence=evidence)
