"""Messages to the token ids that the engine is sent, from a base model's folder, without the libraries of a model.

The conversion is that of ``training.formats.chat``, so that a response is trained behind the very ids it was sampled behind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training.formats.chat import Encoder
from training.formats.templates import MORE_TEMPLATES, NoChatTemplate, Unrenderable, names_of, read

__all__ = ["ChatEncoder", "NoChatTemplate", "Unrenderable"]

_FILES = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", f"{MORE_TEMPLATES}/*.jinja"]


class ChatEncoder(Encoder):
    """The tokeniser and chat templates of one base model (a folder or a hub id).

    Raises:
        NoChatTemplate: one of their files is missing or cannot be read.
    """

    def __init__(self, model: str) -> None:
        folder = _folder(model)
        config = _json(folder / "tokenizer_config.json")
        super().__init__(_tokenizer(folder), read(folder, config), names_of(config))


def _folder(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=_FILES))


def _json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoChatTemplate(f"{file} cannot be read ({error}): the base model needs its tokeniser's files") from error
    if not isinstance(read, dict):
        raise NoChatTemplate(f"{file} is not a JSON object: the base model needs its tokeniser's files")
    return read


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise NoChatTemplate(f"{file} is missing: save the base model with its fast tokeniser")
    return Tokenizer.from_file(str(file))
