"""Who draws the answers that a policy learns from: this process, or an engine that is handed the adapter every few steps.

Both are TRL's `rollout_func`: keys of prompts in, token ids of prompts and answers out. Prompts are encoded here, so that
what a user typed stays text. An engine answers with the adapter that it was last handed: at most `publish_every` steps
old, which the clipped ratio of the loss corrects for.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import GenerationConfig

from training.data.asked import Asked
from training.data.chat import Message, Tokenizer, encode_chat
from training.formats.errors import ConfigError, DataError
from training.measure.inference import ends_of, padded

Drawn = dict[str, Any]
"""`prompt_ids` and `completion_ids`, a list of token ids for each prompt, and `logprobs`, here None: they are computed again."""
ENGINE_S = 600.0
"""Seconds for one answer of the engine."""


@dataclass(frozen=True)
class EngineConfig:
    """A vLLM that serves the base model and may be handed adapters (`VLLM_ALLOW_RUNTIME_LORA_UPDATING`)."""

    url: str
    key_variable: str = ""  # the environment variable that holds its API key
    publish_every: int = 1  # steps between two adapters
    at_once: int = 16  # requests in flight

    def __post_init__(self) -> None:
        if self.publish_every < 1 or self.at_once < 1:
            raise ConfigError('"engine.publish_every" and "engine.at_once" must be at least 1')


class Drawing(Protocol):
    """What of a run says how answers are drawn."""

    @property
    def name(self) -> str:
        """Of the run: adapters are handed over under it."""

    @property
    def folder(self) -> Path:
        """In which adapters are left for the engine."""

    @property
    def max_tokens(self) -> int:
        """Of an answer."""

    @property
    def temperature(self) -> float:
        """Above 0."""

    @property
    def engine(self) -> EngineConfig | None:
        """Who draws, where that is not this process."""


class Drawer(Protocol):
    """Draws one answer for each prompt that it is asked; TRL asks for one as often as it wants answers."""

    def answers(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> Drawn:
        """``prompts`` hold keys, see `key_of`."""


def key_of(prompt: Sequence[Message]) -> str:
    """The key of a prompt, which is all that TRL is told of it."""
    return str(prompt[0]["content"])


class _Encoded:
    def __init__(self, config: Drawing, tokenizer: Tokenizer, prompts: Mapping[str, Asked]) -> None:
        self.config, self.tokenizer, self._prompts = config, tokenizer, prompts

    def ids(self, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
        """The token ids of each prompt, up to where the answer begins."""
        asked = (self._prompts[key_of(prompt)] for prompt in prompts)
        return [
            encode_chat(self.tokenizer, list(each.prompt), add_generation_prompt=True, tools=each.tools)
            for each in asked
        ]


class Here(_Encoded):
    """This process draws, with the weights as they are."""

    def answers(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> Drawn:
        """One answer for each, its end included where it came to one."""
        ids = self.ids(prompts)
        model = trainer.accelerator.unwrap_model(trainer.model)
        ends, pad = ends_of(model, self.tokenizer), int(self.tokenizer.pad_token_id)
        batch = padded(ids, pad, trainer.accelerator.device, left=True)
        how = GenerationConfig(
            do_sample=True,
            temperature=self.config.temperature,
            top_k=0,
            max_new_tokens=self.config.max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=pad,
        )
        training = model.training
        model.eval()
        with torch.no_grad(), trainer.accelerator.autocast():
            output = model.generate(**batch, generation_config=how)
        model.train(training)
        drawn = output[:, batch["input_ids"].shape[1] :].tolist()
        return {"prompt_ids": ids, "completion_ids": [_ended(row, ends) for row in drawn], "logprobs": None}


def _ended(row: list[int], ends: set[int]) -> list[int]:
    """Up to and with the first token that ends an answer."""
    return row[: next((place for place, token in enumerate(row) if token in ends), len(row)) + 1]


class AtEngine(_Encoded):
    """An engine draws, with the adapter of at most `publish_every` steps ago."""

    def __init__(self, config: Drawing, tokenizer: Tokenizer, prompts: Mapping[str, Asked]) -> None:
        super().__init__(config, tokenizer, prompts)
        assert config.engine is not None  # noqa: S101  # whoever makes it has looked
        self._engine = config.engine
        self._serves: tuple[int, str] | None = None

    def answers(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> Drawn:
        """One answer for each.

        Raises:
            DataError: the engine does not answer, or refuses; the message says what.
        """
        model = self._published(trainer)
        ids = self.ids(prompts)
        with ThreadPoolExecutor(self._engine.at_once) as at_once:
            drawn = list(at_once.map(lambda prompt: self._draw(model, prompt), ids))
        return {"prompt_ids": ids, "completion_ids": drawn, "logprobs": None}

    def _published(self, trainer: Any) -> str:
        """The name under which the engine serves the policy; handed over anew where it is too old."""
        step = int(trainer.state.global_step)
        if self._serves is not None and step - self._serves[0] < self._engine.publish_every:
            return self._serves[1]
        name = f"{self.config.name}-step-{step}"
        folder = self.config.folder / "published" / name
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
        self._post("load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        if self._serves is not None:
            self._post("unload_lora_adapter", {"lora_name": self._serves[1]})
        self._serves = step, name
        return name

    def _draw(self, model: str, prompt: list[int]) -> list[int]:
        body = {
            "model": model,
            "prompt": prompt,
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
            "return_token_ids": True,
        }
        try:
            choice = json.loads(self._post("completions", body))["choices"][0]
            return [int(token) for token in choice["token_ids"]]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"the engine at {self._engine.url} gives no token ids ({error!r}): sample with vLLM"
            ) from error

    def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        url = f"{self._engine.url.rstrip('/')}/{path}"
        key = os.environ.get(self._engine.key_variable, "") if self._engine.key_variable else ""
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  # the run file says where
        try:
            with urllib.request.urlopen(request, timeout=ENGINE_S) as reply:  # noqa: S310
                said: bytes = reply.read()
                return said
        except urllib.error.HTTPError as error:
            said = error.read()[:300]
            raise DataError(
                f"the engine refuses {path} (HTTP {error.code}): {said.decode(errors='replace')}"
            ) from error
        except OSError as error:
            raise DataError(
                f"the engine at {self._engine.url} does not answer ({error}): start it, then train again"
            ) from error
