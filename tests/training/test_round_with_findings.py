"""The round with findings: its tasks can be checked and learnt from, and its page says what the files say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from app.kernel.settings import Settings
from benchmarks import findings_tasks as made
from benchmarks import round_with_findings as bench
from benchmarks import round_with_findings_page as page
from training.data.decontamination import contains_any
from training.data.near_duplicates import distinct
from workers.verifiers import registry
from workers.verifiers.protocol import case_of

SIZES = bench.Sizes(tried=4, prompts=40, asked=8, sampled=6, tokens=24, seed=17)
SUM, FORM = "sums to 9 + 9", "no comma"


def passed(task: made.Task, text: str) -> bool | None:
    verifier = registry.find(made.FAMILIES[task.family])
    assert registry.applies(verifier.name, case_of(task.case(text)))
    return verifier.check(case_of(task.case(text))).passed


@pytest.mark.parametrize("kind", made.KINDS)
def test_every_kind_makes_tasks_that_its_verifier_understands(kind: str) -> None:
    tasks = made.tasks([kind], 40, 3)
    assert len({task.prompt for task in tasks}) == 40
    assert {(task.kind, task.family) for task in tasks} == {(kind, made.KINDS[kind])}
    assert {passed(task, "") for task in tasks} <= {False, True}, "nothing is unknown of an empty answer"
    if made.KINDS[kind] == made.ARITHMETIC:
        for task in tasks:
            right = int(task.test["value"])
            assert (passed(task, str(right)), passed(task, f"The answer is {right + 1}.")) == (True, False)


def test_the_same_seed_makes_the_same_tasks_and_others_have_other_prompts() -> None:
    first = made.tasks([SUM, FORM], 30, 1)
    assert first == made.tasks([SUM, FORM], 30, 1) != made.tasks([SUM, FORM], 30, 2)
    assert [task.family for task in first[:4]] == [made.ARITHMETIC, made.FORMAT] * 2
    uneven = made.tasks([SUM, "products to 9 × 9", FORM], 8, 1)
    assert [task.kind for task in uneven[:4]] == [SUM, FORM, "products to 9 × 9", FORM]
    asked = made.tasks([SUM, FORM], 30, 2, without=[task.prompt for task in first])
    assert not {task.prompt for task in first} & {task.prompt for task in asked}
    with pytest.raises(ValueError, match="fewer than 100 tasks"):
        made.tasks([SUM], 100, 1)  # there are 81


def test_what_is_held_out_or_alike_leaves_enough_to_learn_from() -> None:
    """Generated prompts say nearly the same; the product leaves out what says again what is held out."""
    tasks = made.tasks(["sums to 9 + 9", "products to 9 × 9", "no comma", "fewer words"], bench.PROMPTS, bench.SEED)
    prompts = [[{"role": "user", "content": task.prompt}] for task in tasks]
    held_out, train = prompts[: len(prompts) // 4], prompts[len(prompts) // 4 :]
    contaminated = contains_any(held_out, 8, 0.8)
    left = [prompt for prompt in train if not contaminated(prompt)]
    assert len(left) > 0.9 * len(train)
    assert sum(
        distinct([], [f"{task.prompt}\n{task.test.get('value', 'A text.')}" for task in tasks], 0.8)
    ) > 0.8 * len(tasks)


def test_kinds_are_chosen_that_the_base_model_solves_sometimes() -> None:
    arithmetic = [kind for kind, family in made.KINDS.items() if family == made.ARITHMETIC]
    solved = dict.fromkeys(made.KINDS, 0.0) | {arithmetic[0]: 0.2, arithmetic[1]: 0.61, FORM: 0.7, "one sentence": 0.95}
    assert made.chosen(solved) == [arithmetic[0], FORM], "nothing within the bounds: the nearest"
    many = dict.fromkeys(made.KINDS, 0.4)
    assert len(made.chosen(many)) == 2 * made.MOST_KINDS


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((True, False), {"outcome": "ranked", "wins": 0, "strength": 3}),
        ((None, True), {"outcome": "ranked", "wins": 1, "strength": 3}),
        ((True, True), {"outcome": "tie"}),
        ((False, None), {"outcome": "tie"}),
    ],
)
def test_the_answer_that_passes_wins(found: tuple[bool | None, bool | None], said: dict[str, Any]) -> None:
    assert bench.judgement(found) == said


def test_settings_are_those_of_the_product() -> None:
    assert set(SIZES.settings) <= {f"CORRAL_{name.upper()}" for name in Settings.model_fields}


def test_a_round_that_was_not_run_says_so(tmp_path: Path) -> None:
    said = page.report(tmp_path)
    assert said.startswith("The round is not run.")
    assert "| corrected | not run |" in said
    assert "**The gate**: not run." in said
    assert "| all | policy | not run |  |  |  |" in said
    assert said.endswith("Minutes: not run.")


def finished(folder: Path) -> None:
    """A folder with a whole round: the base solves every second task, the policy all."""
    (folder / "sizes.json").write_text(json.dumps(asdict(SIZES)))
    tasks = made.tasks([SUM, FORM], 8, 1)
    files: dict[str, list[made.Answered]] = {
        page.TRIED: [
            (task, number % 2 == 0) for kind in made.KINDS for number, task in enumerate(made.tasks([kind], 4, 1))
        ],
        page.asked(page.BASE): [(task, number % 4 < 2) for number, task in enumerate(tasks)],
        page.asked("sft"): [(task, None if number % 4 > 1 else True) for number, task in enumerate(tasks)],
        page.asked("dpo"): [(task, True) for task in tasks],
    }
    for name, answered in files.items():
        (folder / name).write_text(json.dumps(made.as_json(answered)))
    counts = {"samples": 48, "solved": 4, "unsolved": 2, "rows/correction": 1, "rows/rejection_sampling": 3}
    round_ = {
        "state": "challenging",
        "reason": "",
        "runs": [
            {"kind": kind, "state": "succeeded", "seconds": 60.0, "path": "x"} for kind in ("reward", "sft", "dpo")
        ],
        "found": [[{"words": "It wins."}, {"words": "format: 70.0% of its answers pass."}]],
        "chosen": {"counts": counts, "dropped": {"failed/answer": 9, "truncated": 11, "emoji": 0}},
        "corrected": {"tried": 2, "corrected": 1, "by_round": {"1": 0, "2": 1}, "unavailable": None},
    }
    (folder / page.ROUND).write_text(json.dumps(round_))
    spent = {"0 tried": 30, "1 answers": 60, "1 training": 240, "2 asking base": 15, "2 asking dpo": 15}
    (folder / "times.jsonl").write_text("".join(json.dumps({"what": w, "seconds": s}) + "\n" for w, s in spent.items()))


def test_the_page_says_what_was_kept_dropped_and_corrected_and_what_changed(tmp_path: Path) -> None:
    finished(tmp_path)
    doc = tmp_path / "capabilities.md"
    doc.write_text(f"above\n{page.BEGIN}\nBEFORE\n{page.END}\nbelow\n")
    page.write(doc, tmp_path)
    said = doc.read_text()
    assert f"| {SUM} | arithmetic | 0.500 [" in said
    assert said.index("| dropped: truncated | 11 |") < said.index("| dropped: failed answer | 9 |")
    assert "emoji" not in said
    assert "| corrected | 1 (0 told once, 1 told twice) |" in said
    assert "| kept and learnt from: correction | 1 |" in said
    assert "- format: 70.0% of its answers pass.\n- It lets the policy through to people." in said
    assert "It wins" not in said
    assert "| all | imitation | 0.500 [" in said
    assert "| 0.000 [0.000, 0.000] | 8 |" in said, "what cannot be checked does not pass"
    assert "| format | policy | 0.500 [" in said
    assert "1.000 [1.000, 1.000] | 0.500 [" in said
    assert "trying the base model 0.5, the round 5.0, asking afterwards 0.5 (of these reward 1.0" in said
    assert "BEFORE" not in said
    assert said.endswith(f"{page.END}\nbelow\n")


def test_two_policies_that_were_asked_something_else_are_not_compared() -> None:
    one, other = (made.tasks([SUM], 2, seed) for seed in (1, 2))
    with pytest.raises(ValueError, match="the same tasks"):
        page.change([(task, True) for task in one], [(task, True) for task in other], "all")
    assert page.change([(task, True) for task in one], [(task, True) for task in one], made.FORMAT) is None
