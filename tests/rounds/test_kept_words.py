"""What rounds keep in English is said in the reader's language, and what people wrote is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.kernel import origin
from app.kernel.stored_words import said
from app.rounds import bounds, contests, endings, learnt, plan
from app.rounds.models import Contest, ContestKind, RunKind
from app.rounds.service import ALL_ROUNDS, SCOPES
from app.rounds.tally import Found, Rule
from app.sources.models import Source
from tests.rounds.fake_evaluate import measure, policy_report, reward_report


@pytest.fixture(autouse=True)
def pseudo() -> Iterator[None]:
    """The reader has the made-up language that puts brackets around all that is ours."""
    with origin.of_command():
        origin.current().language = "en-XA"
        yield


def is_ours(shown: str) -> bool:
    """Whether every letter stands in brackets."""
    depth = 0
    for each in shown:
        depth += (each == "⟦") - (each == "⟧")
        if each.isalpha() and not depth:
            return False
    return depth == 0


def findings() -> list[str]:
    worse, few = measure(-0.3, -0.1), {"data": {"held_out_judgements": 40, "prompts": 4}}
    reward, policy = reward_report(set(), before=True, prompts=40), policy_report(set(), prompts=40)
    bad = {name: worse for name in policy["compared"] if name != "length_ratio"}
    found = [
        *bounds.of_reward_model(reward),
        *bounds.of_reward_model(reward | few),
        *bounds.of_reward_model(reward_report(set(), before=False, prompts=40)),
        *bounds.of_reward_model({"unmeasured": "there is no held-out judgement"}),
        *bounds.of_head({"pairs": 20, "head": measure(0.6), "above": worse, "asked_again": 2}),
        *bounds.of_policy(policy, reward),
        *bounds.of_policy(policy | few | {"compared": policy["compared"] | bad}, reward),
        *bounds.of_policy({"unmeasured": "it broke"}, reward),
    ]
    return [each.words for each in found]


def reasons(**counted: Any) -> list[str]:
    values = {"counted": 143, "score": 0.612, "low": 0.54, "high": 0.68, "people": 3} | counted
    contest = Contest(
        kind=ContestKind.GATE, details={"capabilities": {"maths": {"score": 0.2, "counted": 9}}}, **values
    )
    return [contests._reason(contest, Found(rule, 1, "maths")) for rule in Rule]


def scopes() -> list[str]:
    one, other = (learnt.Learnt(Source(name=name), 2) for name in ("helpsteer", "ultra"))
    return [
        learnt.words(scope, given) for scope in (ALL_ROUNDS, *SCOPES.values()) for given in ([], [one], [one, other])
    ]


def remedies() -> list[str]:
    stages = [stage.remedies for kind in RunKind for stage in plan.stages_of(kind)]
    filled = [words.format(attempts=5, stall="30") for words in (*endings.KILLED, *endings.BUSY, *endings.STALLED)]
    return [*filled, *(words for each in stages for words in (*each.by_status.values(), each.otherwise))]


@pytest.mark.parametrize(
    "kept",
    [
        *findings(),
        *reasons(),
        *reasons(counted=1, people=1, low=None, high=None),
        *reasons(counted=0, score=None),
        *scopes(),
        *sorted(set(remedies())),
    ],
)
def test_what_is_kept_is_said_in_the_readers_language(kept: str) -> None:
    assert is_ours(said(kept)), said(kept)


def test_numbers_and_names_come_through() -> None:
    assert "61.2%" in said(reasons()[0])
    assert "policy-r2-5d8f01c2" in said("policy-r2-5d8f01c2 is the champion now.")


@pytest.mark.parametrize("written", ["Measured by hand: it answers in rhymes.", "CUDA out of memory.", "", "7"])
def test_what_people_and_programs_wrote_stays(written: str) -> None:
    assert said(written) == written


def test_english_is_left_as_it_is() -> None:
    origin.current().language = "en"
    assert [said(each) for each in findings()] == findings()


@pytest.mark.parametrize("piece", ["on the same ", "line 3: ", ". ", "“a” ", "1 ", "x: y, "])
def test_a_long_text_of_somebody_else_is_shown_as_it_is_at_its_end(piece: str) -> None:
    """Whatever it looks like, it neither fails the page nor loses anything."""
    for many in (20, 150, 5000):
        shown = said(f"{piece * many}the end")
        assert "the end" in shown
