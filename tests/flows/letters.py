"""A tiny model that only ever writes one letter, and an adapter with which it only writes another: who answered can be read.

All tokens have the same embedding and attention adds nothing, so the last layer always sees the same and prefers B by far. The
adapter turns it to where the last layer prefers A. Nothing depends on sampling, precision or what else is in a batch.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from tests.fake_engine import write_tiny_model

BASE, ADAPTED = "B", "A"
WIDTH, HEADS, KEYS, CONTEXT = 256, 4, 2, 2048


def write_base(folder: Path) -> Path:
    """The model, half a megabyte, with its tokeniser and chat template."""
    write_tiny_model(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "vocab_size": size,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEYS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.token_to_id("<|im_start|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }
    (folder / "config.json").write_text(json.dumps(config))
    embeddings, head = np.zeros((size, WIDTH), np.float32), np.zeros((size, WIDTH), np.float32)
    embeddings[:, 0] = 1
    head[tokenizer.token_to_id(BASE), 0] = 2
    head[tokenizer.token_to_id(ADAPTED), 1] = 2
    out = np.zeros((WIDTH, WIDTH), np.float32)
    out[1, 0] = 1
    small, wide = np.zeros((KEYS * WIDTH // HEADS, WIDTH), np.float32), np.zeros((WIDTH, WIDTH), np.float32)
    ones, layer = np.ones(WIDTH, np.float32), "model.layers.0"
    tensors = {
        "model.embed_tokens.weight": embeddings,
        "lm_head.weight": head,
        "model.norm.weight": ones,
        f"{layer}.input_layernorm.weight": ones,
        f"{layer}.post_attention_layernorm.weight": ones,
        f"{layer}.self_attn.q_proj.weight": wide,
        f"{layer}.self_attn.k_proj.weight": small,
        f"{layer}.self_attn.v_proj.weight": small,
        f"{layer}.self_attn.o_proj.weight": out,
        f"{layer}.mlp.gate_proj.weight": wide,
        f"{layer}.mlp.up_proj.weight": wide,
        f"{layer}.mlp.down_proj.weight": wide,
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_adapter(folder: Path) -> Path:
    """The adapter, as PEFT saves one."""
    folder.mkdir(parents=True)
    down, up = np.zeros((4, WIDTH), np.float32), np.zeros((KEYS * WIDTH // HEADS, 4), np.float32)
    down[0, 0] = up[0, 0] = 1
    prefix = "base_model.model.model.layers.0.self_attn.v_proj"
    tensors = {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": up}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["v_proj"],
        "base_model_name_or_path": "on/another-host",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
