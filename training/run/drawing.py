"""Who draws the answers that a policy learns from: this process, or an engine that is handed the adapter every few steps.

Both are TRL's `rollout_func`: keys of prompts in, token ids of prompts and answers out. Prompts are encoded here, so that
what a user typed stays text. Where a prompt's tools are run, an answer has several turns; what tools answer between them is
read and never learnt. An engine answers with the adapter that it was last handed: at most `publish_every` steps old, which the
clipped ratio of the loss corrects for.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import GenerationConfig

from training.data.asked import Asked
from training.data.chat import Message, Tokenizer, encode_chat, encode_steps
from training.data.tools import MOST_STEPS, Tools
from training.formats.errors import ConfigError, DataError
from training.measure.inference import ends_of, padded

Drawn = dict[str, Any]
"""`prompt_ids` and `completion_ids`, a list of token ids for each prompt, and `logprobs`, here None: they are computed again.

Where tools are run also `env_mask`, 0 where the policy was given a token of an answer; and for whoever rewards it `said`, the
text of its last turn, and `steps`, what came before that.
"""
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
    def max_length(self) -> int:
        """Of prompt and answer together."""

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


@dataclass
class _Answer:
    """An answer as it is drawn, turn by turn; `mask` is 0 where the policy was given a token."""

    source: Asked
    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    said: str = ""
    steps: list[Message] = field(default_factory=list)


class _Turns:
    """Draws answers turn by turn, where `runs` says that calls of a prompt are run by `tools`."""

    def __init__(
        self,
        config: Drawing,
        tokenizer: Tokenizer,
        prompts: Mapping[str, Asked],
        tools: Tools | None = None,
        runs: Mapping[str, bool | None] | None = None,
    ) -> None:
        self.config, self.tokenizer, self._prompts = config, tokenizer, prompts
        self._tools, self._runs = tools or Tools([]), runs or {}

    def draw(self, behind: Sequence[list[int]], trainer: Any) -> list[list[int]]:
        """One turn behind each of these token ids, its end included where it came to one."""
        raise NotImplementedError

    def answers(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> Drawn:
        """One answer for each prompt.

        Raises:
            DataError: an engine that draws does not answer, or refuses; the message says what.
        """
        found = [self._begun(self._prompts[key_of(prompt)]) for prompt in prompts]
        ends = ends_of(trainer.accelerator.unwrap_model(trainer.model), self.tokenizer)
        left = found
        for _ in range(MOST_STEPS):
            drawn = self.draw([each.prompt_ids + each.ids for each in left], trainer)
            left = [each for each, ids in zip(left, drawn, strict=True) if self._goes_on(each, ids, ends)]
            if not left:
                break
        made = {"prompt_ids": [each.prompt_ids for each in found], "completion_ids": [each.ids for each in found]}
        said = {"said": [each.said for each in found], "steps": [each.steps for each in found]}
        return {**made, "logprobs": None, **({"env_mask": [each.mask for each in found], **said} if self._runs else {})}

    def _begun(self, source: Asked) -> _Answer:
        ids = encode_chat(self.tokenizer, list(source.prompt), add_generation_prompt=True, tools=source.tools)
        return _Answer(source, ids)

    def _goes_on(self, answer: _Answer, drawn: list[int], ends: set[int]) -> bool:
        """Add a turn to an answer, and what tools answered to it; whether there is to be another one."""
        ended = bool(drawn) and drawn[-1] in ends
        answer.ids, answer.mask = answer.ids + drawn, answer.mask + [1] * len(drawn)
        answer.said = self.tokenizer.decode(drawn[:-1] if ended else drawn, skip_special_tokens=True)
        source, runs = answer.source, bool(self._runs.get(answer.source.prompt_hash))
        turns = sum(step["role"] == "assistant" for step in answer.steps)
        if not runs or not ended or turns + 1 >= MOST_STEPS:
            return False
        more = self._tools.follow(source.tools or [], answer.said, answer.steps, cut=False)
        between = None if more is None else self._between(source, [*answer.steps, *more])
        if more is None or between is None:
            return False
        room = self.config.max_length - len(answer.prompt_ids) - len(answer.ids) - len(between)
        if room < self.config.max_tokens:
            return False
        answer.steps, answer.said = [*answer.steps, *more], ""
        answer.ids, answer.mask = answer.ids + between, answer.mask + [0] * len(between)
        return True

    def _between(self, source: Asked, steps: list[Message]) -> list[int] | None:
        """What the policy is given behind its last turn, whose own tokens stay as they were drawn."""
        try:
            found = encode_steps(self.tokenizer, list(source.prompt), steps, source.tools)
        except (DataError, ConfigError):
            return None
        own = next((place for place in range(len(found.given), 0, -1) if not found.given[place - 1]), 0)
        return found.ids[own:]


class Here(_Turns):
    """This process draws, with the weights as they are."""

    def draw(self, behind: Sequence[list[int]], trainer: Any) -> list[list[int]]:
        """One turn behind each."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        ends, pad = ends_of(model, self.tokenizer), int(self.tokenizer.pad_token_id)
        batch = padded(behind, pad, trainer.accelerator.device, left=True)
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
        return [_ended(row, ends) for row in drawn]


def _ended(row: list[int], ends: set[int]) -> list[int]:
    """Up to and with the first token that ends an answer."""
    return row[: next((place for place, token in enumerate(row) if token in ends), len(row)) + 1]


class AtEngine(_Turns):
    """An engine draws, with the adapter of at most `publish_every` steps ago."""

    _serves: tuple[int, str] | None = None
    """The last adapter that was handed over: at which step, and its name."""

    @property
    def _engine(self) -> EngineConfig:
        assert self.config.engine is not None  # noqa: S101  # whoever makes it has looked
        return self.config.engine

    def draw(self, behind: Sequence[list[int]], trainer: Any) -> list[list[int]]:
        """One turn behind each.

        Raises:
            DataError: the engine does not answer, or refuses; the message says what.
        """
        model = self._published(trainer)
        with ThreadPoolExecutor(self._engine.at_once) as at_once:
            return list(at_once.map(lambda ids: self._draw(model, ids), behind))

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
