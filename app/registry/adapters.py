"""An adapter that was trained elsewhere becomes a policy of this installation: looked at, copied, given a manifest, registered.

What the engine would only find out when it loads it, or worse, when it answers, is said here: another base model, a rank that it
does not hold, an adapter of a kind that it does not serve, weights that are not numbers.
"""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel import store
from app.kernel.errors import BadInput, Conflict
from app.kernel.settings import get_settings
from app.registry.appointments import appointed
from app.registry.models import Checkpoint, CheckpointKind, LoopRole
from app.registry.served import CONFIG, WEIGHTS
from app.registry.service import register_checkpoint
from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.errors import CheckpointError

HEADER = 64 * 1024 * 1024
"""Bytes of a safetensors header, at most."""
SPOKEN = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates")
"""What a checkpoint takes over from its base, so that it can be trained on and measured by itself."""
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: what is in it, and where it lies behind the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def add(session: Session, user: User, folder: Path, name: str) -> Checkpoint:
    """Copy the adapter in ``folder`` into this installation as the policy ``name``, a child of the base model.

    It takes no part until it is added to the rotation.

    Raises:
        BadInput: it is no LoRA adapter of the base model that the engine can serve, with the reason.
        Conflict: the name is taken, or there is no base model yet.
    """
    base = appointed(session, LoopRole.BASE)
    if base is None:
        raise Conflict("There is no base model yet: start Corral once with “corral up”.")
    config = _config(folder)
    rank = _checked(config, get_settings().max_lora_rank)
    tensors = header(folder / WEIGHTS)
    _fits(tensors, rank, base.folder)
    _numbers(folder / WEIGHTS, tensors)
    target, of_base = get_settings().checkpoints_dir / name, get_settings().place_of(base.path)
    manifest = Manifest(
        name=name, kind="policy", base_model=of_base, config={"imported": True}, versions=_versions(config)
    )
    try:
        with checkpoints.write(target, manifest) as draft:
            shutil.copyfile(folder / WEIGHTS, draft / WEIGHTS)
            said = config | {"base_model_name_or_path": of_base, "inference_mode": True}
            (draft / CONFIG).write_text(json.dumps(said, indent=2, sort_keys=True), encoding="utf-8")
            _take_over(base.folder, draft)
    except CheckpointError as error:
        raise Conflict(f"{error}.") from error
    store.push(target)
    sha256 = checkpoints.sha256(target / checkpoints.MANIFEST)
    made = register_checkpoint(
        session,
        name=name,
        kind=CheckpointKind.POLICY,
        parent=base,
        metrics={},
        manifest_sha256=sha256,
    )
    accounts.audit(session, user, "checkpoint.imported", "checkpoint", made.id, name=name, manifest_sha256=sha256)
    return made


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        pickled = sorted(each.name for each in folder.glob("*") if each.suffix in checkpoints.PICKLED)
        whole = any(folder.glob("model*.safetensors"))
        why = (
            "It holds a whole model: give that to CORRAL_BASE_MODEL instead."
            if whole
            else f"It holds {pickled[0]}, which could run code: save it as safetensors."
            if pickled
            else "Give the folder that PEFT's save_pretrained wrote."
        )
        raise BadInput(f"There is no {CONFIG} in {folder}. {why}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder / CONFIG} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise BadInput(f"{folder / CONFIG} is not an object.")
    return found


def _checked(config: dict[str, Any], most: int) -> int:
    """The largest rank of the adapter."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise BadInput(f"This is an adapter of the kind {kind}, and the engine serves LORA alone.")
    for name in ("use_dora", "modules_to_save", "lora_bias", "trainable_token_indices", "target_parameters"):
        if config.get(name):
            raise BadInput(f"The adapter uses {name}, which the engine does not serve: train it without.")
    if config.get("bias", "none") != "none":
        raise BadInput(f"The adapter trains biases (bias = {config['bias']!r}), which the engine does not serve.")
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank > 0 for rank in ranks):
        raise BadInput(f"The ranks in {CONFIG} are not whole numbers above 0.")
    rank = max(int(each) for each in ranks if each is not None)
    if rank > most:
        raise BadInput(
            f"The adapter has rank {rank}, and the engine accepts at most {most}: raise CORRAL_MAX_LORA_RANK to {rank} "
            "and restart the engine."
        )
    return rank


def header(file: Path) -> dict[str, Tensor]:
    """What is in a safetensors file, by name, without reading the weights.

    Raises:
        BadInput: it is no such file, or not whole.
    """
    try:
        found, ends = _header(file)
    except FileNotFoundError:
        raise BadInput(f"There is no {file.name} in {file.parent}: save the adapter as safetensors.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise BadInput(f"{file} is no whole safetensors file ({error}).") from error
    if not found or ends != file.stat().st_size:
        raise BadInput(f"{file} is no whole safetensors file (it was cut off).")
    return found


def _header(file: Path) -> tuple[dict[str, Tensor], int]:
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        said = json.loads(stream.read(min(size, HEADER)))
    said.pop("__metadata__", None)
    found = {
        str(name): Tensor(str(each["dtype"]), tuple(map(int, each["shape"])), *map(int, each["data_offsets"]))
        for name, each in said.items()
    }
    return found, 8 + size + max((each.end for each in found.values()), default=0)


def _fits(tensors: dict[str, Tensor], rank: int, base: Path) -> None:
    """Each pair of matrices belongs to a layer of the base model, and has its sizes."""
    layers = {name: each.shape for file in sorted(base.glob("*.safetensors")) for name, each in header(file).items()}
    for name, tensor in tensors.items():
        module, _, rest = name.removeprefix(PREFIX).partition(".lora_")
        if rest not in {"A.weight", "B.weight"}:
            raise BadInput(f"{WEIGHTS} has {name}, which is no matrix of LoRA: the engine does not serve it.")
        layer = layers.get(f"{module}.weight")
        if not layers:
            continue  # the base is known by its name alone, and whoever loads it finds out
        if layer is None or len(layer) != 2:
            raise BadInput(f"The adapter was trained on another model: the base model has no layer {module}.")
        wanted = layer[1] if rest.startswith("A") else layer[0]
        has = tensor.shape[1:] if rest.startswith("A") else tensor.shape[:1]
        other = tensor.shape[:1] if rest.startswith("A") else tensor.shape[1:]
        if has != (wanted,) or len(other) != 1 or not 0 < other[0] <= rank:
            raise BadInput(
                f"The adapter was trained on another model: {name} is {list(tensor.shape)}, and the layer {list(layer)}."
            )


def _numbers(file: Path, tensors: dict[str, Tensor]) -> None:
    """No weight is NaN or infinite: one that is answers nothing, for everybody in its batch."""
    exponents: dict[str, tuple[Any, int]] = {
        "F32": ("<u4", 0x7F800000),
        "F16": ("<u2", 0x7C00),
        "BF16": ("<u2", 0x7F80),
    }
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        for name, tensor in tensors.items():
            if tensor.dtype not in exponents:
                raise BadInput(f"{name} is {tensor.dtype}: save the adapter as F32, F16 or BF16.")
            kind, infinite = exponents[tensor.dtype]
            stream.seek(8 + size + tensor.start)
            values = np.frombuffer(stream.read(tensor.end - tensor.start), dtype=kind)
            if np.any((values & infinite) == infinite):
                raise BadInput(f"{name} has weights that are not numbers: the training that made it went wrong.")


def _take_over(base: Path, draft: Path) -> None:
    for name in SPOKEN:
        if (base / name).is_dir():
            shutil.copytree(base / name, draft / name)
        elif (base / name).is_file():
            shutil.copyfile(base / name, draft / name)


def _versions(config: dict[str, Any]) -> dict[str, str]:
    try:
        own = version("corral")
    except PackageNotFoundError:
        own = ""
    trained = {"peft": str(config["peft_version"])} if config.get("peft_version") else {}
    return trained | ({"corral": own} if own else {})
