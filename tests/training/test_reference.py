"""What the reference thinks of a response is computed once, kept, and computed anew when anything about it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import RunFile, events_of, make_rows
from tests.training.test_losses import build, disturb
from training import dpo
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.model import models
from training.run import config, runner
from training.run.reference import ReferenceStore, identity


def run(path: Path) -> dict[str, Any]:
    """Train, and return what was said of the reference."""
    assert runner.main("dpo", dpo.build_trainer, [str(path)]) == 0
    return events_of(path, "reference")[-1]


def test_a_second_run_computes_none_and_learns_the_same(run_file: RunFile) -> None:
    first, second = run_file("dpo", "monday"), run_file("dpo", "tuesday")
    assert run(first)["missing"] == 16
    said = run(second)
    assert (said["missing"], said["stored"]) == (0, 16)
    losses = [[event["metrics"]["loss"] for event in events_of(path, "step")] for path in (first, second)]
    assert losses[0] == losses[1]


def test_a_night_pays_for_its_new_rows_only(run_file: RunFile) -> None:
    run(run_file("dpo", "monday"))
    assert run(run_file("dpo", "tuesday", rows=make_rows(train=20)))["missing"] == 4


@pytest.mark.parametrize(
    "changes", [{"dpo": {"mask_format_tokens": False}}, {"model": {"dtype": "bfloat16"}}], ids=["mask", "precision"]
)
def test_another_mask_or_precision_is_computed_anew(run_file: RunFile, changes: dict[str, Any]) -> None:
    run(run_file("dpo", "monday"))
    assert run(run_file("dpo", "tuesday", **changes))["missing"] == 16


def test_another_reference_is_computed_anew(run_file: RunFile) -> None:
    path = run_file("dpo", "monday")
    run(path)
    settings = config.load(path, "dpo")
    continued = run_file("dpo", "tuesday", parent_adapter="../monday/final")
    assert identity(config.load(continued, "dpo")) != identity(settings)
    assert run(continued)["missing"] == 16, "the parent's adapter is the reference now"
    base = Path(settings.base_model)
    model = models.load_policy(settings).get_base_model()
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] += 1
    changed = path.parent.parent / "changed"
    with checkpoints.write(changed, Manifest(name="c", kind="base", base_model="c")) as draft:
        model.save_pretrained(draft)
        models.load_tokenizer(str(base)).save_pretrained(draft)
    assert run(run_file("dpo", "wednesday", base_model=str(changed)))["missing"] == 16


def test_the_reference_is_the_model_before_its_first_step(run_file: RunFile) -> None:
    trainer, _ = build(run_file("dpo"), "dpo")
    trainer.know_reference()
    [batch] = trainer.packs(trainer.rows[:3])
    torch.testing.assert_close(trainer._summed(batch).detach(), batch.reference, rtol=1e-5, atol=1e-5)
    disturb(trainer.model)
    assert not torch.allclose(trainer._summed(batch), batch.reference, atol=0.1)
    assert trainer.know_reference() == 0, "what is stored is not asked of a model that has moved"


def test_a_line_that_a_killed_process_left_and_a_value_that_is_no_number_are_not_kept(
    run_file: RunFile, tmp_path: Path
) -> None:
    _, prepared = build(run_file("dpo"), "dpo")
    first, second = prepared.rows[1:3]
    store = ReferenceStore(tmp_path / "cache", "one", scored="content")
    store.add([(first, (-1.0, -2.0)), (second, (float("nan"), -3.0))])
    with store.path.open("a") as file:
        file.write('["abc", -1')
    again = ReferenceStore(tmp_path / "cache", "one", scored="content")
    assert again.of(first) == (-1.0, -2.0)
    assert again.of(second) is None
    assert all(json.loads(line) for line in store.path.read_text().splitlines())


def nul_bytes(file: Path) -> None:
    with file.open("ab") as end:
        end.write(bytes(512) + b"\n")


def other_json(file: Path) -> None:
    with file.open("a") as end:
        end.write('{"a": 1}\n["key", "no number"]\n["key"]\n[[], NaN]\n7\n')


def noise_in_the_middle(file: Path) -> None:
    first, *rest = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([first[:10] + b"\xff\x00\xfe" + first[13:], *rest]))


def a_folder_in_its_place(file: Path) -> None:
    file.unlink()
    (file / "what").mkdir(parents=True)


def a_folder_for_a_lock(file: Path) -> None:
    file.with_suffix(".lock").unlink()
    file.with_suffix(".lock").mkdir()


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (nul_bytes, 0),
        (other_json, 0),
        (a_folder_for_a_lock, 0),
        (noise_in_the_middle, 1),
        (a_folder_in_its_place, 2),
    ],
)
def test_a_broken_store_costs_the_values_that_cannot_be_read_and_no_training(
    damage: Callable[[Path], None], lost: int, run_file: RunFile, tmp_path: Path
) -> None:
    _, prepared = build(run_file("dpo"), "dpo")
    rows = prepared.rows[1:3]
    store = ReferenceStore(tmp_path / "cache", "one", scored="content")
    store.add([(row, (-1.0, -2.0)) for row in rows])
    damage(store.path)
    again = ReferenceStore(tmp_path / "cache", "one", scored="content")
    missing = [row for row in rows if again.of(row) is None]
    assert len(missing) == lost
    again.add([(row, (-1.0, -2.0)) for row in missing])
    assert all(ReferenceStore(tmp_path / "cache", "one", scored="content").of(row) == (-1.0, -2.0) for row in rows)
