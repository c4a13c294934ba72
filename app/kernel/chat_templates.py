"""The chat templates that prompts are rendered with for the engine: those of the base model, whatever is trained on it.

Adapters have no template of their own, so all deployments share these. An endpoint that is no vLLM of ours gets messages
and renders them itself; what it shows its model is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Template

from app.kernel.settings import EngineKind, get_settings
from training.formats.templates import MORE_TEMPLATES, NoChatTemplate, compiled, names_of, read

FILES = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", f"{MORE_TEMPLATES}/*.jinja"]


@dataclass(frozen=True)
class InService:
    """The templates by name, the tokens that they call by name, and the model that they belong to."""

    model: str
    templates: Mapping[str, Template]
    names: Mapping[str, str]


def in_service() -> InService | None:
    """What prompts are rendered with now; None where that cannot be known here, or where there is no model yet."""
    settings = get_settings()
    if settings.engine_kind is not EngineKind.VLLM:
        return None
    try:
        folder = folder_of(settings.base_model_path, download=False)
        config = config_of(folder)
        return InService(folder_name(settings.base_model_path), compiled(read(folder, config)), names_of(config))
    except (NoChatTemplate, OSError, ValueError):  # the worker says so, prompt by prompt
        return None


def folder_of(model: str, *, download: bool) -> Path:
    """The folder of a base model that is a folder or a hub id; of a hub id only the tokeniser's files.

    Raises:
        OSError, ValueError: it is not on this machine, and may not or cannot be downloaded.
    """
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=FILES, local_files_only=not download))


def config_of(folder: Path) -> dict[str, Any]:
    """A model's tokenizer_config.json.

    Raises:
        NoChatTemplate: it is missing or cannot be read.
    """
    file = folder / "tokenizer_config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoChatTemplate(f"{file} cannot be read ({error}): the base model needs its tokeniser's files") from error
    if not isinstance(found, dict):
        raise NoChatTemplate(f"{file} is not a JSON object: the base model needs its tokeniser's files")
    return found


def folder_name(model: str) -> str:
    """What people call a model: a hub id as it is, a folder by its last name."""
    return Path(model).name if Path(model).is_dir() else model
