"""Every row of a snapshot is trained on, measured on, or counted among those that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import byte_tokenizer, make_row, make_rows, turn, write_snapshot
from training.data.rows import Prepared, prepare
from training.data.snapshot import Preference, read_snapshot
from training.formats.errors import ConfigError, DataError
from training.formats.pairs import CHOSEN_REJECTED
from training.formats.prompts import content_hash
from training.formats.rankings import held_out_pairs
from training.formats.settings import DataConfig, Kind

TOKENIZER = byte_tokenizer()


def ready(folder: Path, rows: list[dict[str, Any]], min_strength: int = 3, max_length: int = 256) -> Prepared:
    limits = DataConfig(min_strength=min_strength, max_length=max_length)
    return prepare(write_snapshot(folder / "s", rows), limits, TOKENIZER, max_held_out=100)


def rows_of(folder: Path, *rows: dict[str, Any]) -> list[Preference]:
    return read_snapshot(write_snapshot(folder / "s", list(rows)))[0]


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_response_that_ran_into_its_limit_is_taught_no_end_and_an_edit_of_it_is(tmp_path: Path, side: str) -> None:
    texts = {"chosen": "good", "rejected": "bad", "edited": "best"}
    row = make_row() | {name: turn(text) for name, text in texts.items()} | {f"{side}_finish_reason": "length"}
    for example in ready(tmp_path, [row]).train:
        for response in (example.chosen, example.rejected):
            said = TOKENIZER.decode(response.ids)
            text = said.removesuffix("<|im_end|>\n")
            assert (said == text) == (text == texts[side]), said


def test_a_snapshot_from_before_finish_reasons_ends_every_response(tmp_path: Path) -> None:
    row = {key: value for key, value in make_row().items() if not key.endswith("finish_reason")}
    [example] = ready(tmp_path, [row]).train
    assert TOKENIZER.decode(example.chosen.ids).endswith("<|im_end|>\n")


def test_weak_judgements_ties_and_refusals_are_counted_not_trained_on(tmp_path: Path) -> None:
    rows = [
        make_row(0),
        make_row(1, strength=3),
        make_row(2, strength=2),
        make_row(3, strength=None, outcome="tie"),
        make_row(4, strength=None, outcome="all_unacceptable", chosen=None),
    ]
    counts = ready(tmp_path, rows).counts
    assert (counts["rows"], counts["pairs"]) == (5, 2)
    assert (counts["filtered_by_strength"], counts["ties"], counts["all_unacceptable"]) == (1, 1, 1)


def test_held_out_pairs_have_every_strength_and_no_edits(tmp_path: Path) -> None:
    rows = [make_row(n, split="held_out", strength=n + 1, edited=turn("edited")) for n in range(4)]
    pairs, left_out = held_out_pairs(rows_of(tmp_path, *rows))
    assert [pair.strength for pair in pairs] == [1, 2, 3, 4]
    assert {pair.kind for pair in pairs} == {CHOSEN_REJECTED}
    assert not any(left_out.values())


def test_held_out_lines_that_prefer_nothing_are_counted_by_reason(tmp_path: Path) -> None:
    nothing: list[dict[str, Any]] = [
        {"strength": None, "outcome": "tie"},
        {"strength": None, "outcome": "all_unacceptable", "chosen": None},
        {"chosen": turn("")},
        {"chosen": turn("same"), "rejected": turn("same")},
    ]
    rows = [make_row(n, split="held_out", **said) for n, said in enumerate(nothing)]
    counts = ready(tmp_path, [make_row(8), make_row(9, split="held_out"), *rows]).counts
    reasons = ("ties", "all_unacceptable", "empty_responses", "same_text")
    assert [counts[f"held_out_{reason}"] for reason in reasons] == [1, 1, 1, 1]
    assert counts["held_out_pairs"] == 1


def test_answers_written_from_scratch_are_fine_tuned_on_and_in_no_pair(tmp_path: Path) -> None:
    from_scratch = {"chosen": None, "rejected": None, "strength": None, "outcome": "written"}
    rows = [make_row(0), make_row(1, edited=turn("Ask a bee."), **from_scratch)]
    rows += [make_row(2, split="held_out", edited=turn("Ask Alice."), **from_scratch)]
    limits = DataConfig(min_strength=1, max_length=256)
    consumers: tuple[Kind, ...] = ("reward", "dpo", "sft")
    snapshot = write_snapshot(tmp_path / "s", rows)
    reward, dpo, sft = (prepare(snapshot, limits, TOKENIZER, max_held_out=9, consumer=each) for each in consumers)
    for found in (reward, dpo):
        assert (found.counts["written"], found.counts["written_answers"], found.counts["pairs"]) == (1, 0, 1)
        assert (found.counts["held_out_written"], found.counts["all_unacceptable"]) == (1, 0)
    assert (sft.counts["written"], sft.counts["written_answers"], len(sft.rows)) == (0, 1, 2)
    alone = write_snapshot(tmp_path / "alone", rows[1:2])
    assert prepare(alone, limits, TOKENIZER, max_held_out=9, consumer="sft").counts["responses"] == 1
    with pytest.raises(DataError, match=r"only training\.sft can train on"):
        prepare(alone, limits, TOKENIZER, max_held_out=9)


def test_long_pairs_are_left_out_and_named(tmp_path: Path) -> None:
    long = make_row(1, chosen=turn("long " * 100))
    long_held_out = make_row(2, chosen=turn("long " * 100), split="held_out")
    prepared = ready(tmp_path, [make_row(0), long, long_held_out], max_length=200)
    assert (prepared.counts["pairs"], prepared.counts["dropped_too_long"]) == (1, 1)
    assert prepared.counts["too_long_rows"] == [long["id"]]
    assert (prepared.counts["held_out_pairs"], prepared.counts["held_out_dropped_too_long"]) == (0, 1)
    assert all(example.length <= 200 for example in prepared.train)


def test_the_held_out_part_is_capped_without_regard_to_order(tmp_path: Path) -> None:
    rows = make_rows(train=2, held_out=9)
    limits = DataConfig(min_strength=3, max_length=256)
    one = prepare(write_snapshot(tmp_path / "a", rows), limits, TOKENIZER, max_held_out=4)
    other = prepare(write_snapshot(tmp_path / "b", rows[::-1]), limits, TOKENIZER, max_held_out=4)
    assert [example.row_id for example in one.held_out] == [example.row_id for example in other.held_out]
    assert (one.counts["held_out_pairs"], one.counts["held_out_pairs_available"]) == (4, 9)


def test_nothing_to_train_on_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of 1 rows, 1 rows are weaker than data\.min_strength 3.*lower min_strength"):
        ready(tmp_path, [make_row(strength=1)])
    with pytest.raises(DataError, match="annotate more prompts"):
        ready(tmp_path, [])


def test_a_prompt_in_both_splits_is_refused_by_row(tmp_path: Path) -> None:
    rows = [make_row(0), make_row(1, prompt_hash=make_row(0)["prompt_hash"], split="held_out")]
    with pytest.raises(DataError, match="rows 0:10:11 and 1:10:11 have the same prompt"):
        ready(tmp_path, rows)


def test_the_same_prompt_under_another_hash_is_refused_too(tmp_path: Path) -> None:
    rows = [make_row(0), make_row(1, prompt=make_row(0)["prompt"], split="held_out")]
    with pytest.raises(DataError, match="have the same prompt"):
        ready(tmp_path, rows)


TOOL = {"type": "function", "function": {"name": "weather"}}


def test_the_same_question_with_a_tool_is_another_prompt(tmp_path: Path) -> None:
    prompt = make_row(0)["prompt"]
    rows = [make_row(0), make_row(1, prompt=prompt, split="held_out", tools=[TOOL])]
    assert len(rows_of(tmp_path, *rows)) == 2
    named = [{**turn, "name": "alice"} for turn in prompt]
    assert len(rows_of(tmp_path, make_row(0), make_row(1, prompt=named, split="held_out"))) == 2
    with pytest.raises(DataError, match="have the same prompt"):
        rows_of(tmp_path, make_row(0, tools=[TOOL]), make_row(1, prompt=prompt, split="held_out", tools=[TOOL]))
    with pytest.raises(DataError, match="have the same prompt"):
        rows_of(tmp_path, make_row(0), make_row(1, prompt=prompt, split="held_out", tools=[]))


MESSAGE = st.fixed_dictionaries(
    {"role": st.just("user"), "content": st.sampled_from(("a", "b"))}, optional={"name": st.sampled_from(("x", "y"))}
)
TOOLS = st.sampled_from((None, [], [TOOL], [TOOL, TOOL]))


@given(*[st.tuples(st.lists(MESSAGE, min_size=1, max_size=2), TOOLS) for _ in range(2)])
def test_two_prompts_are_the_same_here_exactly_when_the_split_says_so(
    tmp_path_factory: pytest.TempPathFactory, one: tuple[Any, Any], other: tuple[Any, Any]
) -> None:
    rows = [
        make_row(number, prompt=messages, tools=tools, prompt_hash=content_hash(messages, tools).hex(), split=split)
        for number, ((messages, tools), split) in enumerate(((one, "train"), (other, "held_out")))
    ]
    snapshot = write_snapshot(tmp_path_factory.mktemp("pair"), rows)
    if content_hash(*one) == content_hash(*other):
        with pytest.raises(DataError, match="have the same prompt"):
            read_snapshot(snapshot)
    else:
        assert len(read_snapshot(snapshot)[0]) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(("train", "held_out"))), min_size=1, max_size=10))
def test_a_split_is_accepted_exactly_when_no_prompt_is_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    rows = [make_row(topic, id=str(number), split=split) for number, (topic, split) in enumerate(places)]
    shared = {topic for topic, split in places if split == "train"} & {t for t, split in places if split != "train"}
    write_snapshot(folder, rows)
    if shared:
        with pytest.raises(DataError):
            read_snapshot(folder)
    else:
        assert len(read_snapshot(folder)[0]) == len(rows)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    snapshot = write_snapshot(tmp_path, [make_row()])
    file = snapshot / "preferences.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Gladly", b"Grimly"))
    with pytest.raises(DataError, match="has changed since it was exported"):
        read_snapshot(snapshot)


def test_a_wrong_row_count_is_noticed(tmp_path: Path) -> None:
    manifest = write_snapshot(tmp_path, [make_row()]) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows": 1', '"rows": 2'))
    with pytest.raises(DataError, match="has 1 rows, its manifest says 2"):
        read_snapshot(tmp_path)


def test_a_snapshot_without_its_manifest_is_not_finished(tmp_path: Path) -> None:
    (write_snapshot(tmp_path, [make_row()]) / "manifest.json").unlink()
    with pytest.raises(DataError, match="is not a finished snapshot"):
        read_snapshot(tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        {"prompt": []},
        {"prompt": [{"role": "wizard", "content": "x"}]},
        {"prompt": [{"role": "user", "content": None}]},
        {"prompt": "tell me"},
        {"chosen": [{"role": "user", "content": "x"}]},
        {"chosen": turn("x") * 2},
        {"chosen": None},
        {"strength": 7},
        {"strength": None},
        {"split": "test"},
    ],
)
def test_a_row_that_makes_no_sense_is_named_by_line(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"preferences\.jsonl, line 2: .*export the snapshot again"):
        read_snapshot(write_snapshot(tmp_path, [make_row(0), make_row(1, **broken)]))


def test_unusual_text_reaches_the_tokens_unchanged(tmp_path: Path) -> None:
    text = "naïve ✓ <b>漢字</b>\u2028 <|im_end|>\x00 \r\n tab\t"
    [example] = ready(tmp_path, [make_row(chosen=turn(text))]).train
    said = [token for token, content in zip(example.chosen.ids, example.chosen.content, strict=True) if content]
    assert TOKENIZER.decode(said) == text


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    bare = byte_tokenizer()
    bare.chat_template = None
    with pytest.raises(ConfigError, match="no chat template"):
        prepare(tmp_path, DataConfig(min_strength=3, max_length=64), bare, max_held_out=1)


def test_a_row_holds_its_prompt_once_and_every_response_once(tmp_path: Path) -> None:
    ranks = [turn(text) for text in ("first", "second", "third")]
    rows = [
        make_row(0, id=f"{a}:{b}", chosen=ranks[a], rejected=ranks[b], edited=turn("edited") if a == 0 else None)
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    prepared = ready(tmp_path, rows)
    [row] = prepared.rows
    said = [TOKENIZER.decode(response.ids).removesuffix("<|im_end|>\n") for response in row.responses]
    assert said == ["edited", "first", "second", "third"]
    assert len(row.pairs) == 6
    assert row.length == len(row.prompt_ids) + sum(len(response.ids) for response in row.responses)
    assert prepared.counts["tokens_unshared"] == sum(
        2 * len(pair.prompt_ids) + len(pair.chosen.ids) + len(pair.rejected.ids) for pair in prepared.train
    )


def test_a_response_that_is_too_long_leaves_the_rest_of_its_row(tmp_path: Path) -> None:
    rows = [make_row(0, id=f"x:{n}", chosen=turn("good"), rejected=turn("bad " * n)) for n in (1, 100)]
    prepared = ready(tmp_path, rows, max_length=120)
    assert [len(row.responses) for row in prepared.rows] == [2]
    assert (prepared.counts["dropped_too_long"], prepared.counts["too_long_rows"]) == (1, ["x:100"])


def test_only_the_judged_turn_of_a_dialogue_is_trained_on(tmp_path: Path) -> None:
    talk = [("user", "Hello"), ("assistant", "Hi! Ask me."), ("user", "Why?")]
    prompt = [{"role": role, "content": content} for role, content in talk]
    [row] = ready(tmp_path, [make_row(prompt=prompt, chosen=turn("So."), rejected=turn("No."))]).rows
    assert "Hi! Ask me." in TOKENIZER.decode(row.prompt_ids)
    assert [TOKENIZER.decode(response.ids) for response in row.responses] == ["So.<|im_end|>\n", "No.<|im_end|>\n"]


def settings(**changes: Any) -> DataConfig:
    return DataConfig(**{"min_strength": 3, "max_length": 256} | changes)


def test_what_a_model_wrote_that_may_not_be_learnt_from_is_left_out_and_counted(tmp_path: Path) -> None:
    whose = [("ours", "ours"), ("rival", "ours"), ("ours", "rival"), (None, None)]
    rows = [make_row(n, chosen_checkpoint=c, rejected_checkpoint=r) for n, (c, r) in enumerate(whose)]
    snapshot = write_snapshot(tmp_path / "s", [*rows, make_row(9, split="held_out", chosen_checkpoint="rival")])
    prepared = prepare(snapshot, settings(leave_out=["rival"]), TOKENIZER, max_held_out=1)

    assert sorted(row.id.split(":")[0] for row in prepared.rows) == ["0", "3"]
    assert prepared.counts["left_out_by_checkpoint"] == 2
    assert prepared.counts["left_to_other_batches"] == 0


def test_a_run_may_take_the_latest_rounds_or_named_batches_only(tmp_path: Path) -> None:
    rows = [make_row(n, round=n // 2, batch=f"b{n}") for n in range(6)]
    snapshot = write_snapshot(tmp_path / "s", rows)

    def ids(config: DataConfig) -> list[str]:
        return [row.id for row in prepare(snapshot, config, TOKENIZER, max_held_out=1).rows]

    assert ids(settings()) == ["0", "1", "2", "3", "4", "5"]
    assert ids(settings(latest_rounds=1)) == ["4", "5"]
    assert ids(settings(batches=["b1", "b2"])) == ["1", "2"]
    counts = prepare(snapshot, settings(latest_rounds=2), TOKENIZER, max_held_out=1).counts
    assert (counts["pairs"], counts["left_to_other_batches"]) == (4, 2)


def test_the_newest_round_may_weigh_more_than_what_is_older(tmp_path: Path) -> None:
    rows = [make_row(n, round=n // 2 if n < 4 else None) for n in range(5)]
    snapshot = write_snapshot(tmp_path / "s", rows)

    def weights(config: DataConfig, consumer: Kind) -> list[float]:
        prepared = prepare(snapshot, config, TOKENIZER, max_held_out=1, consumer=consumer)
        return [row.weight if consumer == "sft" else row.pairs[0].weight for row in prepared.rows]

    for consumer in get_args(Kind):
        assert weights(settings(), consumer) == [1.0] * 5
        assert weights(settings(newest_weight=3.0), consumer) == [1.0, 1.0, 3.0, 3.0, 1.0]
        assert weights(settings(newest_weight=3.0, newest_after=3), consumer) == [1.0, 1.0, 1.0, 1.0, 3.0]
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="newest_weight"):
            settings(newest_weight=wrong)


def test_a_training_prompt_that_says_a_held_out_one_again_is_left_out_and_counted(tmp_path: Path) -> None:
    question = "Could you please tell me how old the tallest tree of the park is?"
    again = "COULD you, please, tell me how old the tallest tree of the park is -- and why?"
    rows = [
        make_row(0, question=question, split="held_out"),
        make_row(1, question=again),
        make_row(2, question="Could you please tell me how old the smallest bird of the garden is?"),
        make_row(3, prompt=[*make_row(3)["prompt"], *turn("Sure."), {"role": "user", "content": question}]),
    ]
    prepared = prepare(write_snapshot(tmp_path / "s", rows), settings(), TOKENIZER, max_held_out=9)
    assert [row.id for row in prepared.rows] == ["2"]
    assert prepared.counts["dropped_contaminated"] == 2
    without = prepare(tmp_path / "s", settings(ngram=0), TOKENIZER, max_held_out=9)
    assert (len(without.rows), without.counts["dropped_contaminated"]) == (3, 0)


def test_a_shared_system_message_does_not_make_two_prompts_the_same(tmp_path: Path) -> None:
    system = {
        "role": "system",
        "content": "You are a helpful assistant who answers in one short and friendly sentence.",
    }
    rows = [
        make_row(number, prompt=[system, *make_row(number)["prompt"]], split=split)
        for number, split in enumerate(("train", "held_out"))
    ]
    prepared = prepare(write_snapshot(tmp_path / "s", rows), settings(), TOKENIZER, max_held_out=9)
    assert prepared.counts["dropped_contaminated"] == 0
