"""Messages to the token ids that the engine is sent, from a base model's folder, without the libraries of a model.

The conversion is that of ``training.formats.chat``, so that a response is trained behind the very ids it was sampled behind.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from app.kernel.chat_templates import config_of, folder_of
from training.formats.chat import Discontinued, Encoder
from training.formats.templates import NoChatTemplate, Unrenderable, names_of, read
from workers.tools.constraint import TRIGGER

__all__ = ["ChatEncoder", "Discontinued", "NoChatTemplate", "Unrenderable"]


class ChatEncoder(Encoder):
    """The tokeniser and chat templates of one base model (a folder or a hub id).

    Raises:
        NoChatTemplate: one of their files is missing or cannot be read.
    """

    def __init__(self, model: str) -> None:
        folder = folder_of(model, download=True)
        config = config_of(folder)
        templates = read(folder, config)
        super().__init__(_tokenizer(folder), templates, names_of(config))
        self.calls_in_tags = TRIGGER in templates.get("tool_use", templates["default"])
        """Whether models of this base write their calls as Hermes does."""


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise NoChatTemplate(f"{file} is missing: save the base model with its fast tokeniser")
    return Tokenizer.from_file(str(file))
