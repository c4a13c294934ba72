"""Sources beside a snapshot: how often their rows are seen, what of them never is, and that a run knows them again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Row, RunFile, byte_tokenizer, events_of, make_asked, make_row, turn, write_snapshot
from training import reward, sft
from training.data.beside import Beside
from training.data.rows import Prepared, prepare
from training.formats import checkpoints, mix
from training.formats.errors import ConfigError, DataError
from training.formats.prompts import content_hash
from training.formats.settings import DataConfig, Kind, SourceConfig
from training.run import config, runner

LIMITS = DataConfig(min_strength=3, max_length=512, held_out_percent=0)
OWN = [make_row(number) for number in range(2)]


def pair(number: int, **changes: Any) -> Row:
    """A preference of somebody else's, in TRL's form."""
    return {
        "prompt": [{"role": "user", "content": f"What does number {number} of the other list mean to you?"}],
        "chosen": turn(f"Much, {number}."),
        "rejected": turn(f"Nothing {number}."),
    } | changes


def completion(number: int, **changes: Any) -> Row:
    row = pair(number, **changes)
    del row["rejected"]
    return {**row, "completion": row.pop("chosen")}


def source(folder: Path, rows: list[Row], weight: float, name: str = "others", **more: Any) -> SourceConfig:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return SourceConfig(name, file, weight, hashlib.sha256(file.read_bytes()).hexdigest(), **more)


def prepared(
    tmp_path: Path, *sources: SourceConfig, consumer: Kind = "reward", limits: DataConfig = LIMITS, **more: Any
) -> Prepared:
    folder = write_snapshot(tmp_path / "snapshot", OWN + more.pop("rows", []), more.pop("prompts", None))
    return prepare(folder, limits, byte_tokenizer(), max_held_out=9, consumer=consumer, beside=Beside(sources))


def theirs(found: Prepared) -> list[str]:
    return [row.id for row in found.rows if row.id.startswith("others:")]


@pytest.mark.parametrize("consumer", ["reward", "dpo"])
@pytest.mark.parametrize(("weight", "seen"), [(0, 0), (0.25, 2), (1, 8), (2, 16), (2.5, 20)])
def test_an_epoch_has_the_rows_of_a_source_as_often_as_its_weight_says(
    tmp_path: Path, weight: float, seen: int, consumer: Kind
) -> None:
    found = prepared(tmp_path, source(tmp_path, [pair(number) for number in range(8)], weight), consumer=consumer)
    assert len(found.rows) == len(OWN) + seen == found.counts["pairs"]
    most = max((theirs(found).count(each) for each in theirs(found)), default=0)
    assert most - min((theirs(found).count(each) for each in theirs(found)), default=0) <= 1
    if weight:
        [said] = found.counts["sources"]
        assert (said["rows"], said["usable"], said["seen"], said["weight"]) == (8, 8, seen, weight)
    else:
        assert "sources" not in found.counts, "it is not even read"
    assert {row.weight for row in found.rows} == {1.0}, "TRL's trainers, which know no weights, can do it as well"


def test_which_rows_are_drawn_depends_on_the_snapshot_and_on_nothing_else(tmp_path: Path) -> None:
    some = source(tmp_path, [pair(number) for number in range(40)], 0.5)
    first, again = theirs(prepared(tmp_path, some)), theirs(prepared(tmp_path, some))
    other = theirs(prepared(tmp_path, some, rows=[make_row(2)]))
    assert first == again
    assert len(first) == len(set(first)) == 20
    assert set(other) != set(first), "another night sees others of them"


def test_completions_are_for_fine_tuning_alone(tmp_path: Path) -> None:
    written = source(tmp_path, [completion(number) for number in range(4)], 1, origin="human")
    found = prepared(tmp_path, written, consumer="sft")
    assert len(theirs(found)) == 4
    with pytest.raises(DataError, match=r"only training\.sft can train on: take it out"):
        prepared(tmp_path, written)


def test_no_source_repeats_a_held_out_prompt(tmp_path: Path) -> None:
    judged = make_row(7, split="held_out", question="How do the bees of the old orchard find their way home?")
    unjudged = make_asked("Which of the seven clocks in the long hall is slow today?", split="held_out")
    same = pair(1, prompt=judged["prompt"])
    nearly = pair(2, prompt=[{"role": "user", "content": f"Please: {unjudged['prompt'][0]['content']}"}])
    rows = [pair(0), same, nearly, pair(3, split="held_out"), pair(4, prompt=5)]
    found = prepared(tmp_path, source(tmp_path, rows, 1), rows=[judged], prompts=[unjudged])
    [said] = found.counts["sources"]
    assert theirs(found) == ["others:line 1"]
    assert (said["rows"], said["unusable"], said["held_out"], said["contaminated"]) == (5, 1, 2, 1)
    assert {example.row_id for example in found.held_out} == {judged["id"]}, "people's judgements alone are measured on"


def test_the_hash_holds_out_rows_of_a_source_as_it_does_prompts(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(60)]
    limits = DataConfig(min_strength=3, max_length=512, held_out_percent=50)
    found = prepared(tmp_path, source(tmp_path, rows, 1), limits=limits)
    kept = {f"others:line {n}" for n, row in enumerate(rows, 1) if content_hash(row["prompt"])[0] >= 128}
    assert set(theirs(found)) == kept
    assert 0 < len(kept) < 60


def test_a_file_is_kept_apart_from_the_held_out_prompts_of_the_snapshot_that_it_was_made_of(tmp_path: Path) -> None:
    judged = make_row(7, split="held_out")
    snapshot = write_snapshot(tmp_path / "snapshot", [*OWN, judged])
    chosen = tmp_path / "sft.jsonl"
    chosen.write_text(json.dumps(completion(9, split="train")) + "\n")
    rows = [completion(0), completion(1, prompt=judged["prompt"])]
    beside = Beside([source(tmp_path, rows, 1)], unseen=snapshot)
    found = prepare(chosen, LIMITS, byte_tokenizer(), max_held_out=9, consumer="sft", beside=beside)
    assert theirs(found) == ["others:line 1"]


def test_weak_preferences_of_a_source_are_left_out_as_people_s_are(tmp_path: Path) -> None:
    rows = [pair(0, strength=2), pair(1, strength=4), pair(2)]
    found = prepared(tmp_path, source(tmp_path, rows, 1))
    assert theirs(found) == ["others:line 2", "others:line 3"]
    assert found.counts["sources"][0]["weak"] == 1


def test_a_source_does_not_vote_on_what_people_said(tmp_path: Path) -> None:
    against = {"prompt": OWN[0]["prompt"], "chosen": OWN[0]["rejected"], "rejected": OWN[0]["chosen"]}
    found = prepared(tmp_path, source(tmp_path, [against], 1))
    [own] = [row for row in found.rows if row.id == "0"]
    assert [(each.agreement, each.weight) for each in own.pairs] == [(1.0, 1.0)]
    assert len(theirs(found)) == 1


def test_the_mix_says_where_rows_come_from_and_shares_follow_the_weights(tmp_path: Path) -> None:
    rows = [completion(number) for number in range(4)]
    sources = [
        source(tmp_path, rows, 3, "flan", origin="other_task"),
        source(tmp_path, rows, 1, "ours", origin="human"),
    ]
    report = mix.report(
        (mix.Portion(**each) for each in prepared(tmp_path, *sources, consumer="sft").counts["mix"]),
        {"source:other_task:flan": 0.9},
    )
    tokens = {each["source"]: each["tokens"] for each in report["portions"]}
    assert tokens["other_task:flan"] == 3 * tokens["human:ours"]
    shares = {each["kind"]: each["share"] for each in report["paper"]}
    assert shares["other tasks"] == pytest.approx(tokens["other_task:flan"] / report["tokens"])
    assert shares["human"] == pytest.approx((tokens["human:ours"] + tokens["human"]) / report["tokens"])
    assert "90% of source other_task:flan" in report["missing"][0]


def test_what_is_gone_or_changed_is_not_trained_on(tmp_path: Path) -> None:
    some = source(tmp_path, [pair(0)], 1)
    some.path.write_text(json.dumps(pair(1)) + "\n")
    with pytest.raises(DataError, match="has changed"):
        prepared(tmp_path, some)
    some.path.unlink()
    with pytest.raises(DataError, match="does not exist: restore"):
        prepared(tmp_path, some)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"weight": -1.0}, "sources.weight.*at least 0 and at most 10"),
        ({"weight": float("nan")}, "sources.weight"),
        ({"weight": "much"}, "\"sources.weight\" is 'much', which is not of type float"),
        ({"wieght": 1.0}, 'there is no setting "sources.wieght", did you mean "sources.weight"'),
        ({"origin": "magic"}, "sources.origin.*human, other_task, synthetic"),
        ({"path": "nowhere.jsonl", "sha256": None}, "cannot be read"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(
    run_file: RunFile, tmp_path: Path, given: dict[str, Any], why: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.jsonl").write_text(json.dumps(pair(0)) + "\n")
    said = {"name": "a", "path": "a.jsonl", "weight": 1.0, "sha256": "0" * 64} | given
    path = run_file("reward", sources=[{key: value for key, value in said.items() if value is not None}])
    with pytest.raises(ConfigError, match=why):
        config.load(path, "reward")


def test_a_run_names_its_sources_and_goes_on_only_with_the_same(run_file: RunFile, tmp_path: Path) -> None:
    """The loss of a step is of the rows that the weights say, and another weight is another run."""
    others = source(tmp_path, [pair(number) for number in range(4)], 2)
    said = {"name": "others", "path": "../others.jsonl", "weight": 2.0, "origin": "synthetic"}
    told = {"sources": [said], "data": {"max_length": 256, "held_out_percent": 0}, "optim": {"max_steps": 2}}
    path = run_file("reward", **told)
    assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
    [data] = events_of(path, "data")
    assert [(each["name"], each["seen"]) for each in data["sources"]] == [("others", 8)]
    assert data["prompts"] == 16 + 8
    recorded = {"name": "others", "origin": "synthetic", "weight": 2.0, "sha256": others.sha256}
    assert checkpoints.verify(path.parent / "final").config["sources"] == [recorded], "wherever the file lies"
    card = (path.parent / "final" / "README.md").read_text()
    assert "others" in card
    assert "synthetic" in card
    assert runner.main("reward", reward.build_trainer, [str(path)]) == 0, "it is finished"
    changed = run_file("reward", **told | {"sources": [said | {"weight": 1.0}]})
    assert runner.main("reward", reward.build_trainer, [str(changed)]) == 2


def test_the_loss_is_the_mean_over_what_was_seen(run_file: RunFile, tmp_path: Path) -> None:
    """One step over everything: with weight 0 the loss of the run alone, with 2 as if each row stood there twice."""
    rows = [completion(number, split="train") for number in range(2)]
    source(tmp_path, rows, 1)
    losses = {}
    for weight in (0.0, 2.0):
        path = run_file(
            "sft",
            f"run-{weight:g}",
            rows=[make_row(0)],
            sources=[{"name": "others", "path": "../others.jsonl", "weight": weight}],
            optim={"max_steps": 1, "batch_size": 16},
        )
        assert runner.main("sft", sft.build_trainer, [str(path)]) == 0
        losses[weight] = events_of(path, "step")[0]["metrics"]["loss"]
    twice = tmp_path / "all.jsonl"
    own = {"prompt": make_row(0)["prompt"], "completion": make_row(0)["chosen"], "split": "train"}
    twice.write_text("".join(json.dumps(row) + "\n" for row in [own, *({**each, "weight": 2} for each in rows)]))
    path = run_file("sft", "by-hand", snapshot="../all.jsonl", optim={"max_steps": 1, "batch_size": 16})
    assert runner.main("sft", sft.build_trainer, [str(path)]) == 0
    by_hand = events_of(path, "step")[0]["metrics"]["loss"]
    assert losses[2.0] == pytest.approx(by_hand, rel=1e-4)
    assert losses[0.0] != pytest.approx(by_hand, rel=1e-3)
