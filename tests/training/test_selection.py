"""From K answers to the one worth learning from, with everything that was dropped counted by its rule."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from tests.training.conftest import byte_tokenizer, make_row, turn, write_snapshot
from tests.training.test_asked import DATA
from tests.training.test_average import adapter
from tests.training.test_checks import VERIFIER
from tests.training.test_traced_rows import STEPS
from training import selection
from training.data import near_duplicates, snapshot
from training.data.picks import Pick, top_share
from training.data.rows import prepare
from training.formats.settings import DataConfig
from training.run import tool
from training.selection import SelectionConfig


def test_of_near_duplicates_the_first_stays_and_what_people_wrote_always_does() -> None:
    text = "Bread is made from flour, water, salt and a good deal of patience on the side of the baker."
    near, other = text.replace("good deal", "great deal"), "Rivers run to the sea because the land is tilted that way."
    assert near_duplicates.distinct([], [text, near, other], 0.8) == [True, False, True]
    assert near_duplicates.distinct([text, near], [near, other], 0.8) == [False, True]
    assert near_duplicates.distinct([], [text, text.upper() + " "], 0.99) == [True, False]


def test_near_duplicates_are_found_without_copying_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((80, near_duplicates.BUCKETS)).astype(np.float32)
    near = random.permutation(80)[:40]
    vectors[near[:20]] = vectors[near[20:]] + 0.5 * vectors[near[:20]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    close = vectors @ vectors.T >= 0.8
    stays: list[int] = list(range(10))
    for index in range(10, 80):
        stays += [] if close[index, stays].any() else [index]
    size = vectors.nbytes
    monkeypatch.setattr(near_duplicates, "tf_idf", lambda _: vectors)
    tracemalloc.start()
    verdicts = near_duplicates.distinct(["kept"] * 10, ["candidate"] * 70, 0.8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [index for index, stayed in enumerate(verdicts, start=10) if stayed] == stays[10:]
    assert 10 < len(stays) < 80
    assert peak < size / 10


def test_the_top_share_is_by_reward_and_never_nothing() -> None:
    picks = [Pick("rejection_sampling", str(n), (), None, "", score=float(n % 5)) for n in range(8)]
    assert [pick.prompt_id for pick in top_share(picks, 0.25)] == ["4", "3"]
    assert len(top_share(picks[:1], 0.25)) == 1
    assert top_share([], 0.25) == []


def sample_line(number: int, *texts: str, cut_off: str | None = None) -> dict[str, Any]:
    row = make_row(number)
    answers = [{"text": text, "finish_reason": "length" if text == cut_off else "stop"} for text in texts]
    return {"prompt_id": f"p{number}", "prompt": row["prompt"], "checkpoint": "policy-r1", "samples": answers}


def run(folder: Path, *arguments: str, **settings: Any) -> int:
    table = {"samples": "samples.jsonl", "reward_model": "reward", "output": "sft.jsonl", "closest": 1.0}
    (folder / "run.toml").write_text(tomli_w.dumps(table | settings))
    return tool.main(selection.__doc__ or "", SelectionConfig, selection.select, [str(folder / "run.toml"), *arguments])


@pytest.fixture
def round_of(tmp_path: Path, tiny_base: Path) -> Path:
    """Four prompts of which one is held out, with an edit of Alice's for another, and a random reward model."""
    adapter(tmp_path / "reward", tiny_base, 1, kind="reward")
    lines = [
        sample_line(0, "Rising takes time.", "Rising takes hours.", "", "Rising takes", cut_off="Rising takes"),
        sample_line(1, "Rivers bend.", "Rivers bend.", "Rivers run and run."),
        sample_line(2, "Maps fold.", "Maps are flat."),
        sample_line(3, "Clocks tick.", "Clocks chime."),
    ]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [make_row(3, split="held_out"), make_row(4, edited=turn("Bees hum, says Alice.")), make_row(5)]
    write_snapshot(tmp_path / "snapshot", rows)
    return tmp_path


def test_the_best_of_each_prompt_is_kept_with_where_it_came_from(round_of: Path) -> None:
    assert run(round_of, top_share=1.0, snapshot="snapshot") == 0
    rows = [json.loads(line) for line in (round_of / "sft.jsonl").read_text().splitlines()]
    assert (rows[0]["source"], rows[0]["completion"]) == ("human_edit", turn("Bees hum, says Alice."))
    sampled = {row["prompt_id"]: row for row in rows[1:]}
    assert set(sampled) == {"p0", "p1", "p2"}, "p3 is held out"
    assert {(row["checkpoint"], row["reward_model"]) for row in rows[1:]} == {("policy-r1", "reward")}
    assert (sampled["p0"]["k"], sampled["p1"]["k"], sampled["p2"]["k"]) == (4, 3, 2)
    assert rows[1]["score"] >= rows[2]["score"] >= rows[3]["score"]
    report = json.loads((round_of / "sft.report.json").read_text())
    assert {rule: count for rule, count in report["dropped"].items() if count} == {
        "held_out_prompt": 2,
        "empty": 1,
        "truncated": 1,
        "same_text": 1,
        "not_the_best": 3,
    }
    kept = report["counts"]["rows/rejection_sampling"]
    assert report["counts"]["samples"] == kept + sum(report["dropped"].values()), "every sample is accounted for"


def test_an_answer_is_imitated_behind_its_calls_where_all_of_them_ran(round_of: Path) -> None:
    failed = [STEPS[0], STEPS[1] | {"failed": True}]
    line = sample_line(6, "[add()]", "Eight.", "Seven.", "Seven.")
    for sample, steps, ended in zip(
        line["samples"], (STEPS, failed, failed, STEPS), ("steps", *["answered"] * 3), strict=True
    ):
        sample |= {"steps": steps, "ended": ended}
    (round_of / "samples.jsonl").write_text(json.dumps(line))
    edited = make_row(5, edited=turn("Best."), steps={"chosen": STEPS, "rejected": None})
    write_snapshot(round_of / "snapshot", [make_row(3, split="held_out"), edited])
    assert run(round_of, top_share=1.0, snapshot="snapshot") == 0
    dropped = json.loads((round_of / "sft.report.json").read_text())["dropped"]
    assert (dropped["calls_unfinished"], dropped["calls_not_run"]) == (1, 2)
    rows = [json.loads(each) for each in (round_of / "sft.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == [{"chosen": STEPS}] * 2
    tokenizer = byte_tokenizer()
    made = prepare(
        round_of / "sft.jsonl",
        DataConfig(min_strength=1, max_length=512, held_out_percent=0),
        tokenizer,
        max_held_out=0,
        consumer="sft",
    ).rows
    learnt = [tokenizer.decode([row.responses[0].ids[at] for at in row.responses[0].learnt]) for row in made]
    assert learnt == ["[add()]<|im_end|>Best.<|im_end|>\n", "[add()]<|im_end|>Seven.<|im_end|>\n"]
    assert all("seven" in tokenizer.decode(row.responses[0].ids) for row in made), "what the tool said is read"


def test_a_correction_is_imitated_behind_its_calls(round_of: Path) -> None:
    prompt = make_row(7)["prompt"]
    made = {"prompt_id": "p7", "asked": prompt, "prompt": prompt, "checkpoint": "policy-r1", "completion": "Seven."}
    (round_of / "corrections.jsonl").write_text(json.dumps(made | {"steps": STEPS}))
    assert run(round_of, top_share=1.0, corrections="corrections.jsonl") == 0
    rows = [json.loads(each) for each in (round_of / "sft.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows if row["source"] == "correction"] == [{"chosen": STEPS}]
    (round_of / "corrections.jsonl").write_text(json.dumps(made | {"steps": ["none"]}))
    assert run(round_of, corrections="corrections.jsonl") == 2


def test_what_people_preferred_is_imitated_where_they_edited_nothing(round_of: Path) -> None:
    cut_off, shouted = {"chosen_finish_reason": "length"}, {"chosen": turn("Go! Now! Yes! Run! Do! Bees! Go on!")}
    tie = {"outcome": "tie", "strength": None}
    rows = [make_row(3, split="held_out"), make_row(4, edited=turn("Bees hum, says Alice."))]
    rows += [make_row(5), make_row(6, **cut_off), make_row(7, **shouted), make_row(8, **tie)]
    write_snapshot(round_of / "snapshot", rows)
    assert run(round_of, top_share=1.0, snapshot="snapshot", best_responses=True) == 0
    rows = [json.loads(line) for line in (round_of / "sft.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows[:3]] == ["human_edit", "preferred", "rejection_sampling"]
    assert rows[1]["completion"] == make_row(5)["chosen"]
    counts = json.loads((round_of / "sft.report.json").read_text())["counts"]
    assert (counts["human_edits"], counts["preferred"], counts["rows/preferred"]) == (1, 1, 1)
    (round_of / "sft.jsonl").unlink()
    assert run(round_of, top_share=1.0, snapshot="snapshot") == 0
    assert '"preferred"' not in (round_of / "sft.jsonl").read_text(), "only where it is asked for"


def test_answers_that_people_wrote_from_scratch_are_imitated_with_their_origin(round_of: Path) -> None:
    from_scratch = {"chosen": None, "rejected": None, "strength": None, "outcome": "written"}
    written = [make_row(n, edited=turn(text), **from_scratch) for n, text in ((5, "Ask a bee."), (6, "Ask Alice."))]
    held_out = make_row(3, split="held_out", edited=turn("Ask nobody."), **from_scratch)
    write_snapshot(round_of / "snapshot", [held_out, make_row(4, edited=turn("Bees hum.")), *written])
    assert run(round_of, top_share=1.0, snapshot="snapshot", best_responses=True) == 0
    rows = [json.loads(line) for line in (round_of / "sft.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in rows if row["source"] == "human"] == [turn("Ask a bee."), turn("Ask Alice.")]
    counts = json.loads((round_of / "sft.report.json").read_text())["counts"]
    assert (counts["human_edits"], counts["written_answers"], counts["preferred"]) == (1, 2, 0)
    assert (counts["rows/human"], counts["rows/human_edit"]) == (2, 1)


def test_a_stepwise_reward_model_drops_answers_to_maths_by_their_worst_step(round_of: Path, tiny_base: Path) -> None:
    adapter(round_of / "steps", tiny_base, 1, kind="steps")
    lines = [
        sample_line(number, "She gains 24 apples.\nShe gains 37.", "x" * 600) | {"capability": name}
        for number, name in ((4, "maths"), (5, "general"))
    ]
    (round_of / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    asked = {"top_share": 1.0, "steps_model": "steps", "max_length": 400}
    for floor, dropped in ((0.0, 0), (1.0, 1)):  # what a random model says is above the one and below the other
        assert run(round_of, steps_floor=floor, **asked) == 0
        report = json.loads((round_of / "sft.report.json").read_text())
        assert report["dropped"]["wrong_step"] == dropped
        assert (report["counts"]["steps_measured"], report["counts"]["steps_unmeasured"]) == (1, 1)
        sources = [json.loads(line)["source"] for line in (round_of / "sft.jsonl").read_text().splitlines()]
        assert sources.count("rejection_sampling") == 2 - dropped
    assert run(round_of, steps_floor=2.0, **asked) == 2
    assert run(round_of, top_share=1.0) == 0
    assert "wrong_step" not in json.loads((round_of / "sft.report.json").read_text())["dropped"]


def test_what_improves_an_answer_that_may_not_be_learnt_from_is_left_out_and_counted(round_of: Path) -> None:
    edits = [("rival", "Bees hum, says Alice."), ("ours", "Bees sing, says Alice.")]
    rows = [make_row(n, edited=turn(said), chosen_checkpoint=by) for n, (by, said) in enumerate(edits, start=4)]
    write_snapshot(round_of / "snapshot", rows)
    assert run(round_of, top_share=1.0, snapshot="snapshot", leave_out=["rival"]) == 0

    written = [json.loads(line) for line in (round_of / "sft.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in written if row["source"] == "human_edit"] == [turn("Bees sing, says Alice.")]
    assert json.loads((round_of / "sft.report.json").read_text())["counts"]["left_out_by_checkpoint"] == 1


LONG = "Tell me in a few sentences how the old clock in the tower of our town is wound"


@pytest.fixture
def near_copies(round_of: Path) -> Path:
    """A held-out question whose near-copies were sampled, as p0, and edited by Alice, beside what `round_of` has."""
    lines = [json.loads(line) for line in (round_of / "samples.jsonl").read_text().splitlines()]
    lines[0]["prompt"] = [{"role": "user", "content": f"{LONG}, please!"}]
    (round_of / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [
        make_row(3, split="held_out", question=f"{LONG}?"),
        make_row(4, edited=turn("Bees hum, says Alice.")),
        make_row(5, question=f"{LONG} up?", edited=turn("By hand, says Alice.")),
    ]
    write_snapshot(round_of / "snapshot", rows)
    return round_of


def test_what_says_again_what_a_held_out_prompt_says_is_not_imitated_and_counted(near_copies: Path) -> None:
    assert run(near_copies, top_share=1.0, snapshot="snapshot") == 0
    rows = [json.loads(line) for line in (near_copies / "sft.jsonl").read_text().splitlines()]
    assert LONG not in json.dumps(rows)
    report = json.loads((near_copies / "sft.report.json").read_text())
    counts = report["counts"]
    assert report["dropped"]["contaminated"] == 4, "all samples of p0"
    assert counts["samples"] == counts["rows/rejection_sampling"] + sum(report["dropped"].values())
    assert (counts["human_edits"], counts["human_edits_contaminated"], counts["rows/human_edit"]) == (2, 1, 1)
    assert (report["settings"]["ngram"], report["settings"]["overlap"]) == (DataConfig.ngram, DataConfig.overlap)


def test_how_near_a_copy_may_be_is_a_setting(near_copies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(near_copies, top_share=1.0, snapshot="snapshot", ngram=0) == 0
    report = json.loads((near_copies / "sft.report.json").read_text())
    assert report["dropped"]["contaminated"] == 0
    assert (report["counts"]["human_edits_contaminated"], report["counts"]["rows/human_edit"]) == (0, 2)
    assert run(near_copies, overlap=0.0) == 2
    assert '"overlap" must be above 0' in capsys.readouterr().err
    assert run(near_copies, ngram=-1) == 2
    assert '"ngram" must be at least 0' in capsys.readouterr().err


def test_only_the_top_share_is_kept_and_counted(round_of: Path) -> None:
    assert run(round_of, top_share=0.34) == 0
    report = json.loads((round_of / "sft.report.json").read_text())
    assert report["counts"]["rows/rejection_sampling"] == 1
    assert report["dropped"]["below_top_share"] == 3


def test_what_is_written_can_be_fine_tuned_on(round_of: Path) -> None:
    assert run(round_of, top_share=1.0, snapshot="snapshot") == 0
    rows, _ = snapshot.read(round_of / "sft.jsonl", held_out_percent=10)
    assert [row.split for row in rows] == ["train"] * 4
    assert rows[0].chosen == "Bees hum, says Alice."
    assert rows[0].rejected is None


def test_a_dry_run_counts_what_the_rules_drop_and_loads_no_model(
    round_of: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(round_of, "--dry-run", reward_model="nowhere") == 0
    assert "truncated: 1" in capsys.readouterr().out
    assert not (round_of / "sft.jsonl").exists()
    assert run(round_of, reward_model="nowhere") == 2
    assert "give the folder of a finished checkpoint" in capsys.readouterr().err


def test_samples_that_make_no_sense_are_named_by_line(round_of: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (round_of / "samples.jsonl").open("a") as stream:
        stream.write('{"prompt_id": "p9"}\n')
    assert run(round_of) == 2
    assert "line 5: KeyError('samples')" in capsys.readouterr().err
    line = {"prompt_id": "p9", "prompt": [{"role": "user", "content": None}], "checkpoint": "base", "samples": []}
    (round_of / "samples.jsonl").write_text(json.dumps(line) + "\n")
    assert run(round_of) == 2
    assert "line 1: prompt must be text or a list of messages with a known role and text" in capsys.readouterr().err


# ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def sums(round_of: Path) -> Path:
    """Three sums and a question that nothing checks, each with answers of every kind."""
    lines = [
        sample_line(0, "It is 7 surely", "So: 7", "Well, 8", "perhaps 7") | {"reference": "7"},
        sample_line(1, "It makes 5", "Or is it 6", "perhaps 9") | {"reference": "9", "capability": "sums"},
        sample_line(2, "Maps fold.", "Maps are flat."),
        sample_line(4, "perhaps 3", "perhaps") | {"reference": "3"},
    ]
    (round_of / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return round_of


def kept_by(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The answers that were kept, by their prompt, and the report."""
    rows = [json.loads(line) for line in (folder / "sft.jsonl").read_text().splitlines()]
    return {row["prompt_id"]: row["completion"][0]["content"] for row in rows}, json.loads(
        (folder / "sft.report.json").read_text()
    )


def test_wrong_answers_are_dropped_before_the_reward_model_chooses_and_counted_by_verifier(
    sums: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sums, top_share=1.0, checks=VERIFIER) == 0
    kept, report = kept_by(sums)
    assert kept["p0"] in {"It is 7 surely", "So: 7"}
    assert kept["p1"] == "perhaps 9", "what could not be checked is not wrong"
    assert kept["p2"] in {"Maps fold.", "Maps are flat."}, "nothing checks it"
    assert (report["counts"]["solved"], report["counts"]["unsolved"]) == (1, 1)
    dropped = report["dropped"]
    assert (dropped["failed/sum"], dropped["unchecked/sum"]) == (3, 1)
    assert report["counts"]["samples"] == len(kept) + sum(dropped.values()), "every sample is accounted for"
    assert report["checks"]["verifiers"]["sum"] == {"passed": 2, "failed": 3, "unchecked": 4}
    assert "sum: passed: 2  failed: 3  unchecked: 4" in capsys.readouterr().out


def test_only_what_is_required_drops_an_answer(sums: Path) -> None:
    assert run(sums, top_share=1.0, checks=VERIFIER, required=["short"]) == 0
    _, report = kept_by(sums)
    assert [name for name in report["dropped"] if name.startswith(("failed", "unchecked"))] == []
    assert report["checks"]["verifiers"]["sum"]["failed"] == 3, "what is found is still said"
    lines = [json.loads(line) for line in (sums / "samples.jsonl").read_text().splitlines()]
    lines[0]["required"] = ["sum"]
    (sums / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(sums, top_share=1.0, checks=VERIFIER, required=["short"]) == 0
    _, report = kept_by(sums)
    assert report["dropped"]["failed/sum"] == 1, "a batch says what its own prompts require"
    lines[0]["required"], lines[1]["verifiers"] = [], []
    (sums / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(sums, top_share=1.0, checks=VERIFIER) == 0
    _, report = kept_by(sums)
    assert not any(name.startswith("failed") for name in report["dropped"]), "or that they require nothing, or no check"
    assert report["checks"]["verifiers"]["sum"] == {"passed": 2, "failed": 1, "unchecked": 3}


@pytest.mark.parametrize("command", [[], ["/nowhere/verifiers"], [*VERIFIER, "deaf"]])
def test_where_nothing_can_check_nothing_is_filtered_and_the_report_says_so(sums: Path, command: list[str]) -> None:
    assert run(sums, top_share=1.0, checks=command) == 0
    kept, report = kept_by(sums)
    assert set(kept) == {"p0", "p1", "p2", "p4"}
    assert report["checks"]["unavailable"]
    assert (report["counts"]["solved"], report["counts"]["unsolved"]) == (0, 0)


def test_a_round_in_which_everything_is_wrong_says_what_to_do(sums: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = sample_line(0, "8", "9") | {"reference": "7"}
    (sums / "samples.jsonl").write_text(json.dumps(line) + "\n")
    assert run(sums, top_share=1.0, checks=VERIFIER) == 2
    assert "'failed/sum': 2" in capsys.readouterr().err


def test_what_was_put_right_is_imitated_behind_the_wrong_answer_and_its_finding(sums: Path) -> None:
    asked = sample_line(6, "no")["prompt"]
    told = [
        *asked,
        {"role": "assistant", "content": "It is 8"},
        {"role": "user", "content": "It is wrong. Correct it."},
    ]
    right = {"prompt_id": "p6", "asked": asked, "prompt": told, "completion": "It is 7", "checkpoint": "policy-r1"}
    shouted, wrong = right | {"completion": "7! 7! 7! 7! 7! 7! 7"}, right | {"completion": None}
    held_out = right | {"asked": sample_line(3, "no")["prompt"]}
    lines = [right | {"tools": None}, wrong, shouted, held_out]
    (sums / "corrections.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    solved = [{**line, "prompt": line["asked"], "rounds": 1} for line in lines]
    (sums / "solutions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in solved))
    written = {"corrections": "corrections.jsonl", "solutions": "solutions.jsonl"}
    assert run(sums, top_share=1.0, checks=VERIFIER, snapshot="snapshot", **written) == 0
    rows = [json.loads(line) for line in (sums / "sft.jsonl").read_text().splitlines()]
    [corrected] = [row for row in rows if row["source"] == "correction"]
    assert (corrected["prompt"], corrected["completion"]) == (told, turn("It is 7"))
    assert [row["prompt"] for row in rows if row["source"] == "solution"] == [asked]
    counts = kept_by(sums)[1]["counts"]
    assert (counts["rows/correction"], counts["solutions_dropped"], counts["solutions_corrected"]) == (1, 3, 1)
    tokenizer = byte_tokenizer()
    trained = prepare(sums / "sft.jsonl", DATA, tokenizer, max_held_out=9, consumer="sft").rows
    [prepared] = [row for row in trained if "Correct it." in tokenizer.decode(row.prompt_ids)]
    assert [tokenizer.decode(response.ids) for response in prepared.responses] == ["It is 7<|im_end|>\n"]
    (sums / "corrections.jsonl").write_text('{"prompt_id": "p6"}\n')
    assert run(sums, checks=VERIFIER, corrections="corrections.jsonl") == 2


def test_right_and_wrong_answers_make_pairs_that_no_person_stated(sums: Path) -> None:
    assert run(sums, top_share=1.0, checks=VERIFIER, pairs="verified.jsonl") == 0
    [pair] = [json.loads(line) for line in (sums / "verified.jsonl").read_text().splitlines()]
    assert (pair["chosen"], pair["rejected"]) == (turn("It is 7 surely"), turn("Well, 8"))
    assert (pair["source"], pair["id"]) == ("verifier", "verifier:p0:0")
    assert kept_by(sums)[1]["counts"]["verifier_pairs"] == 1
    assert run(sums, top_share=1.0, pairs="verified.jsonl") == 0
    assert (sums / "verified.jsonl").read_text() == "", "where nothing checks"
