"""Each benchmark runs and says how it stands to its budgets. How quick this machine is, is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app.kernel.settings import ROOT
from benchmarks import capabilities, gpu, wrong_steps
from benchmarks.budget import Budget, verdict

pytestmark = [pytest.mark.slow]


@pytest.mark.parametrize(
    ("name", "options", "budgets"),
    [
        ("import_prompts", ["--prompts", "60", "--repeat", "1"], 2),
        ("export", ["--annotations", "40", "--repeat", "1"], 3),
        ("claim", ["--rows", "1500", "--rounds", "2"], 1),
        ("web_cycle", ["--cycles", "64", "--clients", "4"], 2),
        ("strangers", ["--samples", "16", "--rounds", "1"], 4),
        ("warm_start", ["1"], 1),
        ("rounds", ["--contests", "8", "--processes", "1", "--over-http", "1"], 10),
        ("verdicts", ["--rounds", "3"], 4),
        ("pair_selection", ["--seeds", "1"], 8),
        ("first_token", ["--texts", "3"], 1),
        ("code_checks", ["--mutants", "1", "--cheats", "1"], 8),
        ("board_votes", ["--votes", "330", "--repeat", "1"], 1),
        ("desk_plots", ["--annotations", "400", "--people", "3", "--days", "30"], 3),
        ("scale", ["--sizes", "200,400", "--rounds", "1"], 7),
        ("gpu", ["--smoke", "--steps", "2", "--only", "tiny dpo"], 1),
    ],
)
def test_a_benchmark_ends_with_its_budgets(name: str, options: list[str], budgets: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = done.stdout.splitlines()
    assert done.returncode in {0, 1}, done.stderr
    assert len([line for line in said if line.endswith((": met", ": MISSED"))]) == budgets, done.stdout + done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_none_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    said = capsys.readouterr()
    assert not said.out
    assert "torch sees none" in said.err


def test_a_workload_of_a_gpu_is_held_to_its_bars(capsys: pytest.CaptureFixture[str]) -> None:
    name = "8b dpo, long threes"
    run = {"second": 1.0, "tokens": 30_000.0, "packing": 0.02, "bytes": 50e9, "weights": 7.5e9, "losses": [0.7, 0.6]}
    found = {(name, gpu.OURS): run, (name, gpu.DENSE): run | {"second": 1.3}, (name, gpu.BEST): run | {"second": 2.0}}
    assert all(bar.met for bar in gpu.bars(name, found, judged=True))
    gpu.table(found, 1e15)
    assert " 900.0    90%     50.0   2.00×" in capsys.readouterr().out, "4 operations a weight and token"
    found[name, gpu.OURS] = run | {"second": 1.2, "bytes": 51e9, "packing": 0.1, "losses": [0.7, 0.61]}
    missed = [bar.what.removeprefix(f"{name}: ") for bar in gpu.bars(name, found, judged=True) if not bar.met]
    assert [what.split()[0] for what in missed] == ["largest", "speed", "peak", "making", "speed"]


def test_trls_parts_of_a_step_are_as_large_as_one_another() -> None:
    assert [gpu.divisor(96, most) for most in (16, 15, 9, 1, 200)] == [16, 12, 8, 1, 96]
    assert gpu.EVERY["8b dpo, long threes"].of_trl == 16, "two pairs a row: edited over chosen is left out"
    assert gpu.EVERY["1b reward, threes"].of_trl == 96


def test_a_missed_budget_is_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(Budget("page", 2.0, 3, "s"), Budget("rate", 120, 100, at_least=True)) == 0
    assert verdict(Budget("page", 2.0, 3, "s"), Budget("rate", 90, 100, at_least=True)) == 1
    assert "rate: 90 (budget ≥ 100): MISSED" in capsys.readouterr().out


def test_the_table_of_capabilities_says_what_bar_and_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": "?", "answer": f"{n} + 1 = <<{n}+1={n + 1}>>{n + 1}\nSo it is.\n#### {n + 1}"} for n in range(9)
    ]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert capabilities.main(["--data", str(tmp_path), "steps", "steering", "step-model"]) == 0
    said = capsys.readouterr().out
    assert "| what | data | bar | reached |" in said
    assert "| steps: changed results of 9 found | GSM8K, one result changed | ≥ 78 % | 100 %, met |" in said
    assert "skipped: steering: ifeval.jsonl is missing" in said
    assert "skipped: step-model: a base model is missing" in said
    monkeypatch.setattr(wrong_steps, "FOUND", 101.0)
    assert capabilities.main(["--data", str(tmp_path), "steps"]) == 1
    assert "MISSED" in capsys.readouterr().out
