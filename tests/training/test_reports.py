"""Checkpoints of the tiny model, trained for a few steps, and measured as they lie on the disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from tests.training.conftest import RunFile, make_asked, make_row, turn, write_snapshot
from tests.training.test_average import adapter
from tests.training.test_checks import VERIFIER
from training import average, dpo, evaluate, reward
from training.data import snapshot
from training.evaluate import EvaluateConfig
from training.formats.events import EventLog
from training.measure import inference, judged, policy_report
from training.measure.inference import Policy, RewardModel
from training.model import models
from training.run import runner, tool

EDIT = "Gladly! Edited by Alice."


def rows() -> list[dict[str, Any]]:
    held_out = [
        make_row(number, split="held_out", capability="advice" if number % 2 else "coding", edited=turn(EDIT))
        for number in range(12, 24)
    ]
    return [make_row(number) for number in range(12)] + held_out


@pytest.fixture
def trained(run_file: RunFile, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder with `reward/final`, `dpo/final` and the snapshot that they are of."""
    for kind, train in (("reward", reward.build_trainer), ("dpo", dpo.build_trainer)):
        path = run_file(kind, kind, rows() if kind == "reward" else None)
        assert runner.main(kind, train, [str(path)]) == 0, capsys.readouterr().err  # type: ignore[arg-type]
    return path.parents[1]


def run(folder: Path, *arguments: str, **settings: Any) -> int:
    (folder / "evaluation").mkdir(exist_ok=True)
    path = folder / "evaluation" / "run.toml"
    path.write_text(tomli_w.dumps({"data": "../snapshot", "output": "report", "resamples": 200} | settings))
    return tool.main(evaluate.__doc__ or "", EvaluateConfig, evaluate.evaluate, [str(path), *arguments])


def report(folder: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / "evaluation" / "report" / "report.json").read_text())
    return body


def test_a_reward_model_is_measured_from_the_disk_as_it_was_in_memory(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(trained, kind="reward", checkpoint="../reward/final") == 0
    found = report(trained)
    told = json.loads((trained / "reward" / "final" / "metrics.json").read_text())["final"]
    after = found["after_metrics"]
    for name in ("held_out/accuracy", "held_out/longer_wins_accuracy", "held_out/accuracy/strength_4"):
        assert after[name]["value"] == pytest.approx(told[name]), name
    assert after["held_out/reward_margin"]["value"] == pytest.approx(told["held_out/reward_margin"], rel=0.05)
    assert after["held_out/accuracy/capability/coding"]["prompts"] == 6
    assert after["held_out/best_of_4"]["prompts"] == 12
    assert found["compared"]["held_out/bag_of_words_accuracy"]["value"] == 1.0, "'gladly' gives it away"
    assert found["before"] is None
    lines = (trained / "evaluation" / "report" / "pairs.jsonl").read_text().splitlines()
    assert len(lines) == 12
    page = (trained / "evaluation" / "report" / "report.md").read_text()
    assert f"| `held_out/accuracy` | {after['held_out/accuracy']['value']:.3f} [" in page
    assert str(trained) not in page
    assert "bag_of_words_accuracy" in (trained / "evaluation" / "report" / "intervals.svg").read_text()
    assert "held_out/accuracy" in capsys.readouterr().out


def test_a_policy_is_measured_against_its_base_and_against_itself(trained: Path) -> None:
    settings = {"kind": "policy", "checkpoint": "../dpo/final", "reward_model": "../reward/final", "max_new_tokens": 12}
    assert run(trained, **settings, temperature=0) == 0
    found = report(trained)
    assert (found["data"]["prompts"], found["data"]["human_edits"]) == (12, 12)
    assert found["after_metrics"]["kl_per_token"]["value"] > 0
    assert found["before_metrics"].get("kl_per_token") is None, "the base has nothing to diverge from"
    assert (
        found["after_metrics"]["perplexity_of_edits"]["value"]
        != found["before_metrics"]["perplexity_of_edits"]["value"]
    )
    assert found["after_metrics"]["tokens"]["value"] <= 12
    page = (trained / "evaluation" / "report" / "report.md").read_text()
    assert "| `kl_per_token` | — | " in page, "before | after"
    assert "| `win_rate` |  | " in page, "of both together"
    assert run(trained, **settings, temperature=0, before="../dpo/final") == 0
    same = report(trained)["compared"]
    assert (same["win_rate"]["value"], same["same_answer"]["value"]) == (0.5, 1.0)
    assert same["length_drift"]["value"] == same["reward_gain"]["value"] == 0.0
    assert same["length_controlled_win_rate"]["value"] == pytest.approx(0.5)
    assert {same[f"more_{fault}"]["value"] for fault in ("cut_off", "empty", "repeated_4_grams")} == {0.0}


def test_a_policy_is_measured_on_held_out_prompts_that_nobody_judged_by_what_checks_find(trained: Path) -> None:
    sums = [make_asked(f"{n} + {n}?", split="held_out", reference=str(2 * n), capability="sums") for n in range(5)]
    write_snapshot(trained / "snapshot", rows(), [*sums, make_asked("1 + 1?", reference="2")])
    settings = {"kind": "policy", "checkpoint": "../dpo/final", "reward_model": "../reward/final", "max_new_tokens": 4}
    assert run(trained, **settings, checks=VERIFIER, events="events.jsonl") == 0
    found = report(trained)
    assert (found["data"]["prompts"], found["data"]["checked_prompts"]) == (12, 5)
    assert found["after_metrics"]["verified/sums"]["prompts"] == found["verified"]["measured"] == 5
    assert found["compared"]["verified_gain/sums"]["value"] == 0.0, "neither model can add"
    assert found["verified"]["verifiers"]["sum"] == {"passed": 0, "failed": 10, "unchecked": 0}
    lines = (trained / "evaluation" / "report" / "checked.jsonl").read_text().splitlines()
    assert {json.loads(line)["capability"] for line in lines} == {"sums"}
    line = next(map(json.loads, lines))
    assert line["reference"] == str(2 * int(line["prompt"][0]["content"][0])), "so that others can check it, too"
    said = next(each for each in line["after"]["findings"] if each["verifier"] == "sum")
    assert said["passed"] is False
    steps = EventLog(trained / "evaluation").every()
    assert steps[-1]["step"] == steps[-1]["total_steps"], "their answers are part of the progress"
    assert run(trained, **settings) == 0
    assert report(trained)["data"]["checked_prompts"] == 0, "where nothing can check, nothing is asked"


def test_a_reward_model_is_compared_with_the_one_before_it_on_the_same_pairs(trained: Path) -> None:
    settings = {"kind": "reward", "checkpoint": "../reward/final", "lenient": True, "events": "events.jsonl"}
    assert run(trained, **settings, before="../reward/final") == 0
    assert report(trained)["compared"]["held_out/accuracy_above_before"]["value"] == 0.0
    steps = EventLog(trained / "evaluation").every()
    assert [(event["step"], event["total_steps"]) for event in steps] == [(1, 2), (2, 2)]
    assert run(trained, **settings, before="../gone") == 0
    alone = report(trained)
    assert "gone" in alone["before_left_out"]
    assert "held_out/accuracy_above_before" not in alone["compared"]


def test_a_lenient_measurement_of_nothing_says_so_in_its_report(trained: Path) -> None:
    write_snapshot(trained / "other", [make_row(1)])
    for kind, checkpoint in (("reward", "../reward/final"), ("policy", "../dpo/final")):
        settings = {"checkpoint": checkpoint, "reward_model": "../reward/final", "data": "../other"}
        assert run(trained, kind=kind, **settings, lenient=True) == 0
        assert "no held-out judgement" in report(trained)["unmeasured"]


def test_an_averaged_checkpoint_is_measured_on_what_all_its_parts_held_out(trained: Path, run_file: RunFile) -> None:
    file = trained / "preferences.jsonl"  # says no splits, so that a percentage is held out
    file.write_text("".join(json.dumps({**row, "split": None}) + "\n" for row in rows()))
    held_out = {}
    for name, percent in (("a", 60), ("b", 30)):
        path = run_file("reward", name, data={"held_out_percent": percent}, optim={"max_steps": 2})
        path.write_text(path.read_text().replace('"../snapshot"', '"../preferences.jsonl"'))
        assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
        assert run(trained, kind="reward", checkpoint=f"../{name}/final", data="../preferences.jsonl") == 0
        held_out[name] = report(trained)["data"]["held_out_judgements"]
    table = {"name": "mean", "checkpoints": ["a/final", "b/final"], "output": "mean"}
    (trained / "average.toml").write_text(tomli_w.dumps(table))
    assert tool.main("", average.AverageConfig, average.average, [str(trained / "average.toml")]) == 0
    assert run(trained, kind="reward", checkpoint="../mean", data="../preferences.jsonl") == 0
    measured = report(trained)["data"]["held_out_judgements"]
    assert 0 < measured == held_out["b"] < held_out["a"], "what one of them learnt from is not measured on"


def test_a_dry_run_says_on_what_and_writes_nothing(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained, "--dry-run", kind="reward", checkpoint="../reward/final") == 0
    assert "held_out_judgements: 12" in capsys.readouterr().out
    assert not (trained / "evaluation" / "report").exists()


def test_what_cannot_be_measured_is_refused_in_a_sentence(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(**settings: Any) -> str:
        assert run(trained, **settings) == 2
        return capsys.readouterr().err

    assert 'set "reward_model"' in refusal(kind="policy", checkpoint="../dpo/final")
    assert "kind policy, but must be reward" in refusal(kind="reward", checkpoint="../dpo/final")
    assert "raise max_length" in refusal(kind="reward", checkpoint="../reward/final", max_length=8)
    assert 'did you mean "checkpoint"' in refusal(kind="reward", chekpoint="../reward/final")
    stranger = trained / "stranger"
    shutil.copytree(inference.served(trained / "dpo" / "final").base_model, stranger)
    tokenizer = models.load_tokenizer(str(stranger))
    tokenizer.add_tokens(["corral"])
    tokenizer.save_pretrained(stranger)
    adapter(trained / "foreign", stranger, 1, kind="reward")
    policy = {"kind": "policy", "checkpoint": "../dpo/final", "reward_model": "../foreign"}
    assert "foreign and dpo-r1 have different tokenizers" in refusal(**policy)
    (trained / "empty").mkdir()
    assert "empty is not a finished snapshot" in refusal(kind="reward", checkpoint="../reward/final", data="../empty")
    write_snapshot(trained / "other", [make_row(1)])
    assert "no held-out judgement" in refusal(kind="reward", checkpoint="../reward/final", data="../other")


def test_likelihoods_and_rewards_do_not_depend_on_the_batch(trained: Path) -> None:
    sources = [inference.served(trained / kind / "final") for kind in ("reward", "dpo")]
    tokenizer = models.load_tokenizer(sources[0].base_model)
    sequences = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10, 11]]
    alone, together = (RewardModel(sources[0], tokenizer, size).score(sequences) for size in (1, 3))
    assert alone == pytest.approx(together, abs=2e-2)  # bfloat16 where the processor has it
    model, passes = RewardModel(sources[0], tokenizer, 1), []
    model.model.register_forward_pre_hook(lambda *_: passes.append(1))
    assert model.score([*sequences, sequences[0]]) == [*alone, alone[0]]
    assert len(passes) == len(sequences), "what comes several times is read once"
    prompts = [[256, 1, 2], [256, 3], [256, 4, 5, 6, 7]]
    greedy = {"max_new_tokens": 6, "temperature": 0.0, "seed": 1}
    policy = Policy(sources[1], tokenizer, 1)
    policy.model.float()
    answers = policy.sample(prompts, **greedy)  # type: ignore[arg-type]
    policy.batch_size = 3
    assert policy.sample(prompts, **greedy) == answers  # type: ignore[arg-type]
    logps = policy.logps(prompts[0], answers[0].ids)
    assert logps.argmax(dim=1).tolist() == answers[0].ids, "a greedy answer is the likeliest token at each place"
    with policy.frozen(inference.base(sources[1].base_model)) as start:
        assert not torch.allclose(start.logps(prompts[0], answers[0].ids), logps)
    assert torch.allclose(policy.logps(prompts[0], answers[0].ids), logps), "and back"


def test_the_file_that_was_trained_on_is_measured_on_what_its_run_held_out(
    run_file: RunFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"prompt": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"]} for row in rows()]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = run_file("reward", "of-file", snapshot="../pairs.jsonl", data={"held_out_percent": 40})
    assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
    held_out = json.loads((path.parent / "final" / "metrics.json").read_text())["data"]["held_out_rows"]
    assert 0 < held_out < len(lines)
    assert run(tmp_path, kind="reward", checkpoint="../of-file/final", data="../pairs.jsonl") == 0
    assert report(tmp_path)["data"]["held_out_judgements"] == held_out


def test_a_reward_is_read_behind_the_token_that_closes_a_turn(
    run_file: RunFile, tiny_base: Path, tmp_path: Path
) -> None:
    """As templates have it that end with the very token that a tokenizer pads with, and nothing behind."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    tokenizer = models.load_tokenizer(str(base))
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>\n", "<|im_end|>")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(base)
    path = run_file("reward", "closing", rows(), base_model=str(base))
    assert runner.main("reward", reward.build_trainer, [str(path)]) == 0
    final = path.parent / "final"
    assert run(path.parents[1], kind="reward", checkpoint="../closing/final") == 0
    told, found = json.loads((final / "metrics.json").read_text())["final"], report(path.parents[1])["after_metrics"]
    assert found["held_out/reward_margin"]["value"] == pytest.approx(told["held_out/reward_margin"], rel=0.05)


def test_a_policy_diverges_from_its_parent_and_not_from_the_base_of_both(trained: Path, run_file: RunFile) -> None:
    path = run_file(
        "dpo", "next", parent_adapter=str(trained / "dpo" / "final"), optim={"max_steps": 1, "learning_rate": 1e-9}
    )
    assert runner.main("dpo", dpo.build_trainer, [str(path)]) == 0
    settings = {"kind": "policy", "reward_model": "../reward/final", "max_new_tokens": 12, "before": "../dpo/final"}
    assert run(trained, **settings, checkpoint="../next/final") == 0
    found = report(trained)
    assert found["started_from"]["after"]["name"] == "dpo-r1"
    after, before = (found[f"{side}_metrics"]["kl_per_answer"]["value"] for side in ("after", "before"))
    assert after < 1e-3 < before, "one step of no length stays where it began, which is not at the base"
    page = (trained / "evaluation" / "report" / "report.md").read_text()
    assert "KL is measured from what each was trained from, dpo-r1" in page


def test_ending_at_once_is_a_divergence(tiny_base: Path) -> None:
    """A policy that learnt to say nothing decides nothing but the end."""
    tokenizer = models.load_tokenizer(str(tiny_base))
    silent, start = (Policy(inference.base(str(tiny_base)), tokenizer, 4) for _ in range(2))
    silent.model.float(), start.model.float()
    head = silent.model.get_output_embeddings()
    head.weight.data.zero_()
    head.bias = torch.nn.Parameter(torch.full((len(tokenizer),), -30.0))
    head.bias.data[tokenizer.eos_token_id] = 30.0
    silent._start = start
    preference = snapshot.read(write_snapshot(tiny_base.parent / "asked", rows()), 0)[0]
    asked = policy_report.questions([row for row in preference if row.split == "held_out"], tokenizer, 256)
    samples = silent.sample([question.prompt_ids for question in asked], max_new_tokens=8, temperature=1.0, seed=1)
    found = policy_report.answer(silent, asked, samples, inference.base(str(tiny_base)), resamples=50)
    assert {sample.drawn[0] for sample in found.samples} == {tokenizer.eos_token_id}
    assert found.intervals["kl_per_answer"].value > 1.0
    assert found.intervals["empty"].value == 1.0


def test_a_policy_is_sampled_as_it_was_asked_to_be(tiny_base: Path, tmp_path: Path) -> None:
    """What the base likes to be sampled with would make every policy look more alike and less repetitive than it is."""
    shutil.copytree(tiny_base, tmp_path / "opinionated")
    (tmp_path / "opinionated" / "generation_config.json").write_text(
        json.dumps({"eos_token_id": 258, "top_p": 0.05, "repetition_penalty": 5.0, "do_sample": True})
    )
    tokenizer = models.load_tokenizer(str(tiny_base))
    prompts = [[256, number, 2] for number in range(8)]
    for temperature in (0.0, 1.0):
        plain, other = (
            Policy(inference.base(str(base)), tokenizer, 8).sample(
                prompts, max_new_tokens=8, temperature=temperature, seed=1
            )
            for base in (tiny_base, tmp_path / "opinionated")
        )
        assert [sample.ids[:4] for sample in plain] == [sample.ids[:4] for sample in other]


def test_prompts_whose_answers_were_all_alike_are_asked_as_well(tiny_base: Path, tmp_path: Path) -> None:
    tie = make_row(50, split="held_out", outcome="tie")
    found = judged.read(write_snapshot(tmp_path / "snapshot", [*rows(), tie]))
    assert len(found.held_out) == 12
    assert len(policy_report.questions(found.asked, models.load_tokenizer(str(tiny_base)), 256)) == 13
