"""A judge of facts decides alone only where it surely agrees with people; a coin never does."""

from __future__ import annotations

import pytest

from app.kernel.settings import ROOT
from benchmarks import judge
from workers.verifiers.judging import Agreement, Judged, Labelled, Verdict, measured, read

LLMBAR = ROOT.parent / "shared" / "data" / "preferences" / "llmbar_natural.json"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('{"verdict": "correct", "informative": true}', Judged(Verdict.CORRECT, informative=True)),
        (
            'Sure.\n```json\n{"verdict": "not_attempted", "informative": false}\n```',
            Judged(Verdict.NOT_ATTEMPTED, informative=False),
        ),
        ('{"verdict": "correct", "informative": true} or {"verdict": "incorrect", "informative": true}', None),
        ('{"verdict": "maybe", "informative": true}', None),
        ('{"verdict": ["correct"], "informative": true}', None),
        ('{"verdict": "correct", "informative": "yes"}', None),
        ('{"verdict": "correct"}', None),
        ("The answer is correct.", None),
        ("<html><body>502 Bad Gateway</body></html>", None),
        ("", None),
        ("{" * 30_000, None),
        ("[" * 30_000 + "{", None),
    ],
)
def test_a_verdict_is_a_verdict_and_nothing_else(said: str, found: Judged | None) -> None:
    assert read(said) == found


def test_what_is_informative_and_wrong_teaches_a_refusal() -> None:
    wrong = [Judged(verdict, informative=says) for verdict in Verdict for says in (True, False)]
    assert [each for each in wrong if each.teaches_refusal] == [Judged(Verdict.INCORRECT, informative=True)]


@pytest.mark.parametrize(
    ("agreed", "labels", "alone"),
    [
        (49, 49, False),
        (50, 50, True),
        (45, 50, False),
        (46, 50, True),
        (88, 100, True),
        (87, 100, False),
        (0, 0, False),
    ],
)
def test_the_whole_interval_must_lie_above(agreed: int, labels: int, alone: bool) -> None:  # noqa: FBT001 - a row of a table
    low, _ = Agreement(agreed, labels).interval
    assert Agreement(agreed, labels).decides_alone is alone, low
    assert ("it decides alone" in Agreement(agreed, labels).words()) is alone


@pytest.mark.skipif(not LLMBAR.exists(), reason="needs llmbar_natural.json beside the checkout")
def test_a_coin_is_refused_and_an_oracle_admitted_on_llmbar() -> None:
    labels = judge.labelled(LLMBAR)
    assert measured(judge.oracle(labels), labels) == Agreement(len(labels), len(labels))
    assert measured(judge.oracle(labels), labels).decides_alone
    assert not measured(judge.coin(7), labels).decides_alone
    assert measured(lambda _: "It is correct.", labels) == Agreement(0, len(labels))
    assert not measured(judge.oracle(labels), labels[:49]).decides_alone


def test_a_coin_and_an_oracle_on_labels_of_our_own() -> None:
    labels = [
        Labelled(
            "The office opens at nine.",
            "When does it open?",
            f"At {n}.",
            Verdict.CORRECT if n == 9 else Verdict.INCORRECT,
        )
        for n in range(60)
    ]
    assert measured(judge.oracle(labels), labels).decides_alone
    assert not measured(judge.coin(7), labels).decides_alone
