"""What a GPU is given is what a processor computes: masks in blocks, logits in parts, packs made ahead, compiled layers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from tests.training.conftest import RunFile, events_of
from tests.training.test_families import FAMILIES, ROWS, alone, log_probabilities, model_of
from tests.training.test_losses import assert_same, build, disturb, run, step
from tests.training.test_packing import SIZES, row
from training import dpo
from training.data.chat import Response
from training.data.rows import Row
from training.formats.errors import ConfigError
from training.model import head, layouts, losses, models
from training.model.packing import ADDED, BLOCKS, SHARED, Form, lay_out, pack
from training.run import reference, room, runner
from training.run.ahead import Ahead
from training.run.reference import ReferenceStore, with_reference

pytestmark = [  # what torch says of itself when it compiles, or does not
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """FlexAttention without a compiler, which takes a minute on a processor, and forwards only."""
    torch.compiler.set_stance("force_eager")
    try:
        yield
    finally:
        torch.compiler.set_stance("default")


# ── Masks ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@given(SIZES)
def test_a_mask_in_blocks_shows_what_the_dense_one_shows(sizes: list[tuple[int, list[int]]]) -> None:
    rows = [row(number, prompt, *responses) for number, (prompt, responses) in enumerate(sizes)]
    for lines in lay_out(rows, 512, BLOCKS):
        blocks, dense = pack(lines, 0, BLOCKS), pack(lines, 0, SHARED)
        width, narrow = blocks.input_ids.shape[1], dense.input_ids.shape[1]
        assert width % 128 == 0 <= width - narrow < 128
        mask = blocks.attention_mask
        assert isinstance(mask, BlockMask)
        line, place = torch.arange(len(lines))[:, None, None], torch.arange(width)
        shown = mask.mask_mod(line, torch.tensor(0), place[:, None], place)
        assert isinstance(dense.attention_mask, Tensor)
        assert shown[:, :narrow, :narrow].equal(dense.attention_mask[:, 0])
        assert shown[:, narrow:].sum() == len(lines) * (width - narrow), "padding sees itself only"


def test_blocks_in_which_nothing_is_seen_are_left_out() -> None:
    mask = pack([[row(1, 100, 90, 90, 90), row(2, 128, 128)]], 0, BLOCKS).attention_mask
    assert isinstance(mask, BlockMask)
    kept = mask.to_dense()[0, 0].bool()
    assert kept.shape == (5, 5)
    assert not kept.triu(1).any()
    assert not kept[3:, :2].any(), "of the row before, nothing"
    assert kept.diagonal().all()


@pytest.mark.parametrize("kind", ["reward", "dpo", "sft"])
@pytest.mark.usefixtures("uncompiled")
def test_flex_attention_has_the_losses_of_dense_masks(run_file: RunFile, kind: Any) -> None:
    trainer, prepared = run(run_file, kind, "adapter")
    disturb(trainer.model)
    rows = [replace(each, reference=tuple(-9.0 for _ in each.responses)) for each in prepared.rows]

    def loss_of(form: Form) -> float:
        packs = [pack(lines, trainer.pad, form) for lines in lay_out(rows, 400, form)]
        totals = torch.stack([trainer.totals(batch) for batch in packs]).sum(dim=0)
        with torch.no_grad():
            return float(sum(trainer.loss(trainer.model, batch, totals) for batch in packs))

    expected = loss_of(SHARED)
    trainer.model.set_attn_implementation(layouts.FLEX)
    assert loss_of(BLOCKS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("family", "settings"), [(name, more) for name, more, form in FAMILIES if form == SHARED][:5])
@pytest.mark.usefixtures("uncompiled")
def test_a_family_that_reads_blocks_rightly_is_left_with_them(family: str, settings: dict[str, Any]) -> None:
    model = model_of(family, settings)
    with torch.no_grad():
        expected = alone(model, ROWS)
        assert layouts.form_for(model, ROWS, 0, blocks=True) == BLOCKS
        assert model.config._attn_implementation == layouts.FLEX
        torch.testing.assert_close(log_probabilities(model, ROWS, BLOCKS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["gptj", "gpt_neo", "xglm"])
@pytest.mark.usefixtures("uncompiled")
def test_a_family_that_does_not_keeps_its_own_attention(family: str) -> None:
    model = model_of(family, next(settings for name, settings, _ in FAMILIES if name == family))
    before = model.config._attn_implementation
    with torch.no_grad():
        assert layouts.form_for(model, ROWS, 0, blocks=True) == ADDED
    assert model.config._attn_implementation == before


# ── The head ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_logits_in_parts_give_the_same_loss_and_gradients(
    run_file: RunFile, kind: Any, trains: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, prepared = run(run_file, kind, trains)
    disturb(trainer.model)
    rows = [replace(each, reference=tuple(-9.0 for _ in each.responses)) for each in prepared.rows]
    whole = step(trainer, rows)
    trainer.config = replace(trainer.config, model=replace(trainer.config.model, head_tokens=7))
    del trainer.head_tokens
    largest, logps = [0], losses.token_logps

    def watched(logits: Any, labels: Any) -> Any:
        largest.append(len(logits))
        return logps(logits, labels)

    monkeypatch.setattr(losses, "token_logps", watched)
    assert_same(step(trainer, rows), whole)
    assert max(largest) == 7
    assert trainer.model(**trainer.packs(rows)[0].inputs).logits.shape[-1] > 1, "outside of it the head says logits"


@pytest.fixture(params=["adapter", "all"])
def trains(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("family", "ends"), [("llama", True), ("granite", False), ("gemma2", False)])
def test_a_model_that_changes_what_its_head_says_is_known(family: str, *, ends: bool) -> None:
    settings = next(settings for name, settings, _ in FAMILIES if name == family)
    model = model_of(family, settings | ({"final_logit_softcapping": 0.5} if family == "gemma2" else {}))
    with torch.no_grad():
        batch = layouts.sample(ROWS, 0, SHARED)
        assert head.ends_with(model, model.get_output_embeddings(), batch.inputs) is ends


def test_a_run_whose_model_does_not_end_with_its_head_says_so_and_goes_on(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "ends_with", lambda *_: False)
    path = run_file("sft", model={"head_tokens": 5})
    trainer, prepared = build(path, "sft")
    assert step(trainer, prepared.rows)[0] > 0
    assert [event["message"] for event in events_of(path, "warning") if "what its head says" in event["message"]]


def test_parts_of_the_head_bound_its_memory(run_file: RunFile) -> None:
    trainer, _ = build(run_file("dpo", model={"pack_tokens": 4096}), "dpo")
    shape = replace(room.shape_of(trainer.config), vocabulary=128_000)

    def memory(tokens: int) -> int:
        return room.memory(replace(trainer.config, model=replace(trainer.config.model, head_tokens=tokens)), shape)

    assert memory(0) - memory(1024) == room.OF_VOCABULARY * 128_000 * (trainer.config.model.pack_tokens - 1024)


# ── Packs made ahead ─────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_packs_of_a_step_are_made_while_the_step_before_it_is_computed(
    run_file: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = build(run_file("sft", optim={"max_steps": 4, "batch_size": 2}), "sft")
    seen: list[str] = []
    begin, take = Ahead.begin, Ahead.step

    def begins(self: Ahead, layout: Any) -> None:
        seen.append("begun")
        begin(self, layout)

    def takes(self: Ahead, layout: Any) -> Any:
        seen.append("taken" if self._begun and self._begun[0][0] == layout else "made anew")
        return take(self, layout)

    monkeypatch.setattr(Ahead, "begin", begins)
    monkeypatch.setattr(Ahead, "step", takes)
    trainer.train()
    assert seen[:4] == ["begun", "begun", "taken", "begun"]
    assert seen.count("taken") == 4
    assert "made anew" not in seen


def test_packs_come_in_order_from_another_thread() -> None:
    threads: list[int] = []

    def make(lines: Any) -> Any:
        threads.append(threading.get_ident())
        return pack(lines, 0)

    layout = lay_out([row(number, 8, 4, 4) for number in range(6)], 16)
    ahead = Ahead(make)
    expected = [pack(lines, 0).input_ids.tolist() for lines in layout]
    assert [batch.input_ids.tolist() for batch in ahead.each(layout)] == expected
    ahead.begin(layout)
    assert [batch.input_ids.tolist() for batch in ahead.step(layout)] == expected
    assert threading.get_ident() not in threads
    ahead.begin(layout)
    assert len(ahead.step(layout[:2])) == 2, "packs that were cut in another way are made again"
    assert not ahead._begun


def test_what_goes_wrong_ahead_is_said_where_the_packs_are_read() -> None:
    def fail(_: Any) -> Any:
        raise ConfigError("this row cannot be laid out")

    ahead = Ahead(fail)
    ahead.begin([[[row(1, 2, 2)]]])
    with pytest.raises(ConfigError, match="laid out"):
        ahead.step([[[row(1, 2, 2)]]])


# ── References ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_references_are_computed_by_tokens_and_not_by_rows(tmp_path: Any) -> None:
    def of(size: int, number: int) -> Row:
        return Row(str(number), [number] * (size - 1), (Response([number], [1]),))

    rows = [of(10, number) for number in range(40)] + [of(200, number) for number in range(40, 44)]
    asked: list[int] = []

    def compute(some: Any) -> list[tuple[float, ...]]:
        asked.append(sum(each.length for each in some))
        return [(-1.0,)] * len(some)

    known, computed = with_reference(rows, ReferenceStore(tmp_path, "x", scored="all"), compute, pack_tokens=20)
    assert computed == 44
    assert asked == [160, 160, 80, 200, 200, 200, 200], "of at most eight packs of 20, but for rows that are longer"
    assert all(each.reference == (-1.0,) for each in known)


def test_values_of_flex_attention_are_kept_apart(run_file: RunFile) -> None:
    trainer, _ = build(run_file("dpo"), "dpo")
    assert reference.identity(trainer.config, BLOCKS) != reference.identity(trainer.config, SHARED)
    assert reference.identity(trainer.config, ADDED) == reference.identity(trainer.config)


# ── Compiled layers ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_compiled_layers_learn_the_same(run_file: RunFile) -> None:
    trainer, prepared = run(run_file, "sft", "adapter")
    disturb(trainer.model)
    whole = step(trainer, prepared.rows)
    models.compile_layers(trainer.model, backend="eager")
    compiled = [module for module in trainer.model.modules() if module._compiled_call_impl is not None]
    assert {type(module).__name__ for module in compiled} == {"LlamaDecoderLayer"}
    assert len(compiled) == trainer.model.config.num_hidden_layers
    assert_same(step(trainer, prepared.rows), whole)


def test_what_is_for_gpus_changes_nothing_on_a_processor(run_file: RunFile) -> None:
    plain, asked = run_file("dpo", "monday"), run_file("dpo", "tuesday", model={"compile": True, "attention": "auto"})
    for path in (plain, asked):
        assert runner.main("dpo", dpo.build_trainer, [str(path)]) == 0
    found = [[event["metrics"]["loss"] for event in events_of(path, "step")] for path in (plain, asked)]
    assert found[0] == found[1]
    trainer, prepared = build(run_file("sft", model={"compile": True}), "sft")
    step(trainer, prepared.rows)
    assert trainer.form == SHARED
    assert not [module for module in trainer.model.modules() if module._compiled_call_impl is not None]
