"""A response has in a pack what it has alone, in every family of models: by the mask, by another form of it, or plainly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from training.data.chat import Response
from training.data.rows import Prepared, Row, RowPair
from training.model import layouts
from training.model.packing import ADDED, PLAIN, SHARED, Form, lay_out, length, pack, widest
from training.run import dry_run
from training.run.room import Shape

COMMON: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OLDER = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
FAMILIES: list[tuple[str, dict[str, Any], Form]] = [
    ("llama", {}, SHARED),
    ("qwen2", {}, SHARED),
    ("qwen3", {}, SHARED),
    ("mistral", {"sliding_window": None}, SHARED),
    ("gemma", {}, SHARED),
    ("gemma2", {"sliding_window": 64, "query_pre_attn_scalar": 8}, SHARED),
    ("gemma3_text", {"sliding_window": 64, "query_pre_attn_scalar": 8}, SHARED),
    ("phi3", {}, SHARED),
    ("olmo2", {}, SHARED),
    ("granite", {"logits_scaling": 2.0}, SHARED),
    ("cohere", {"logit_scale": 0.5}, SHARED),
    ("starcoder2", {}, SHARED),
    ("smollm3", {}, SHARED),
    ("glm4", {}, SHARED),
    ("mixtral", {"num_local_experts": 4}, SHARED),
    ("qwen3_moe", {**MOE, "decoder_sparse_step": 1}, SHARED),
    ("gpt2", OLDER, SHARED),
    ("gpt_neox", {}, SHARED),
    ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}, SHARED),
    ("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 64}, ADDED),
    ("gptj", {**OLDER, "rotary_dim": 4}, ADDED),
    (
        "gpt_neo",
        {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 64},
        ADDED,
    ),
    ("codegen", {**OLDER, "rotary_dim": 4}, ADDED),
    ("xglm", {"d_model": 32, "attention_heads": 4, "num_layers": 2, "ffn_dim": 48}, ADDED),
    ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}, PLAIN),
    ("rwkv", {"attention_hidden_size": 32}, PLAIN),
    ("recurrent_gemma", {"lru_width": 32}, PLAIN),
]


def row(number: int, prompt: int, *responses: int) -> Row:
    generator = torch.Generator().manual_seed(number)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, 256, (count,), generator=generator).tolist()

    said = tuple(Response(tokens(count), [1] * count) for count in responses)
    pairs = (RowPair(0, 1, "chosen_rejected", 3),) if len(said) > 1 else ()
    return Row(str(number), tokens(prompt), said, pairs, reference=tuple(float(count) for count in responses))


ROWS = [row(1, 9, 6, 7, 8), row(2, 10, 7, 8), row(3, 11, 8, 9)]


def model_of(family: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    known = {**COMMON, **settings}
    try:
        config = CONFIG_MAPPING[family](**known)
    except (TypeError, AttributeError, ValueError):  # older ones count their layers under another name
        config = CONFIG_MAPPING[family](**{k: v for k, v in known.items() if k != "num_hidden_layers"})
    return AutoModelForCausalLM.from_config(config).float().eval()


def log_probabilities(model: Any, rows: list[Row], form: Form) -> torch.Tensor:
    batch = pack([rows], 0, form)
    logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits.float().flatten(0, 1)[batch.picks]
    return logits.log_softmax(-1).gather(1, batch.labels[:, None]).squeeze(1)


def alone(model: Any, rows: list[Row]) -> torch.Tensor:
    found = []
    for each in rows:
        for response in each.responses:
            ids = torch.tensor([each.prompt_ids + response.ids])
            logits = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
            found += [logits[len(each.prompt_ids) - 1 + at, token] for at, token in enumerate(response.ids)]
    return torch.stack(found)


@pytest.mark.parametrize(("family", "settings", "form"), FAMILIES, ids=[name for name, *_ in FAMILIES])
@torch.no_grad()
def test_a_pack_says_what_its_responses_say_alone(
    family: str, settings: dict[str, Any], form: Form, tmp_path: Path
) -> None:
    model = model_of(family, settings)
    assert layouts.form_for(model, ROWS, 0) == form
    model.config.save_pretrained(tmp_path)
    assert layouts.expected(str(tmp_path), ROWS, 0) == form, "known without the weights"
    expected = alone(model, ROWS)
    torch.testing.assert_close(log_probabilities(model, ROWS, form), expected, atol=1e-3, rtol=1e-3)
    if form != SHARED:  # otherwise the form would be a whim
        assert (log_probabilities(model, ROWS, SHARED) - expected).abs().mean() > 0.005


@pytest.mark.parametrize(("family", "settings", "form"), FAMILIES, ids=[name for name, *_ in FAMILIES])
@torch.no_grad()
def test_rounding_is_not_taken_for_a_mask_that_is_ignored(family: str, settings: dict[str, Any], form: Form) -> None:
    model = model_of(family, settings).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert layouts.form_for(model, ROWS, 0) == form


def test_plain_rows_keep_their_pairs_and_what_is_known_of_them() -> None:
    shared, plain = (pack([ROWS[:2], ROWS[2:]], 0, form) for form in (SHARED, PLAIN))
    for name in ("labels", "owner", "better", "worse", "share", "reference", "strength", "content"):
        assert getattr(shared, name).tolist() == getattr(plain, name).tolist(), name
    assert plain.input_ids.shape == (7, 20)
    assert isinstance(plain.attention_mask, Tensor)
    assert plain.attention_mask.sum(dim=1).tolist() == [15, 16, 17, 17, 18, 19, 20]


@pytest.mark.parametrize("budget", [1, 40, 70, 1000])
def test_plain_packs_hold_every_row_once_and_keep_to_the_budget(budget: int) -> None:
    packs = lay_out(ROWS, budget, PLAIN)
    assert sorted(each.id for lines in packs for line in lines for each in line) == ["1", "2", "3"]
    for lines in packs:
        assert len(lines) == 1 or pack(lines, 0, PLAIN).input_ids.numel() <= budget


def test_a_run_that_takes_plain_rows_is_estimated_with_them() -> None:
    assert widest(ROWS, SHARED) == 9 + 6 + 7 + 8
    assert widest(ROWS, PLAIN) == 3 * (9 + 8), "a row is in one pack, with its prompt before each response"
    settings = SimpleNamespace(
        optim=SimpleNamespace(batch_size=2),
        evaluation=SimpleNamespace(every_steps=0, share=0.2),
        model=SimpleNamespace(trains="adapter", gradient_checkpointing=False, dtype="float32"),
        kind="reward",
        trainer="corral",
    )
    prepared = Prepared(ROWS, [], {}, "")
    shape = Shape(weights=1000, trained=10, layers=2, hidden=32, intermediate=48, vocabulary=256)
    shared, plain = (dry_run._padding(prepared, 64, form) for form in (SHARED, PLAIN))
    assert 0 <= shared < 1
    assert 0 <= plain < 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dry_run, "_flops", lambda *_: 1.0)
        times = [dry_run.seconds(settings, shape, prepared, 3, form) for form in (SHARED, PLAIN)]  # type: ignore[arg-type]
    tokens = [sum(length(row, form) for row in ROWS) for form in (SHARED, PLAIN)]
    assert times[1] / times[0] == pytest.approx(tokens[1] / tokens[0])
