"""Answers of a policy that call tools, step by step: its turns are sampled together, and tools answer between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from training.data import asked as prompts
from training.data.chat import Message, Tokenizer, encode_steps
from training.data.tools import MOST_STEPS, Tools
from training.formats.errors import ConfigError, DataError
from training.measure.inference import Policy, Sample


class Source(Protocol):
    """A prompt as a file has it."""

    @property
    def prompt_hash(self) -> str:
        """What names it."""

    @property
    def prompt(self) -> Sequence[Message]:
        """Its messages."""

    @property
    def tools(self) -> list[Any] | None:
        """What it may call."""


class Asked(Protocol):
    """A prompt with its token ids."""

    @property
    def source(self) -> Source:
        """What it is of."""

    @property
    def prompt_ids(self) -> list[int]:
        """Up to where the answer begins."""


def which_run(command: Sequence[str], sources: Sequence[Source], data: Path) -> dict[str, bool | None]:
    """By the hash of each prompt with tools, whether its calls are run; None where that takes what is not here.

    What a prompt tests stands in `data`.
    """
    tests = {each.prompt_hash: each.tests for each in prompts.read(data)} if command else {}
    with Tools(command) as tools:
        return {each.prompt_hash: tools.runs(each.tools, tests.get(each.prompt_hash)) for each in sources if each.tools}


@dataclass(frozen=True)
class Turns:
    """How policies are asked: `runs` says of which prompts calls are run; `told` is called after each batch.

    `max_length` are tokens of a conversation and its answer together; `sampling` is what `Policy.sample` takes.
    """

    tools: Tools
    runs: Mapping[str, bool | None]
    max_length: int
    sampling: Mapping[str, Any]
    told: Callable[[], None] = lambda: None

    def of(self, policy: Policy, asked: Sequence[Asked]) -> list[Sample]:
        """One answer for each prompt, in their order.

        An answer ends with words, or with a call: after the most steps, where the conversation leaves no room, or where the
        template cannot show what a tool answered.
        """
        samples = policy.sample([each.prompt_ids for each in asked], told=self.told, **self.sampling)
        left = [place for place, each in enumerate(asked) if self.runs.get(each.source.prompt_hash)]
        for _ in range(MOST_STEPS - 1):
            found = {place: self._following(policy.tokenizer, asked[place], samples[place]) for place in left}
            following = {place: more for place, more in found.items() if more is not None}
            if not following:
                break
            behind = [asked[place].prompt_ids + before for place, (_, before) in following.items()]
            drawn = policy.sample(behind, told=self.told, **self.sampling)
            for (place, (steps, before)), new in zip(following.items(), drawn, strict=True):
                samples[place] = replace(new, steps=steps, before=before)
            left = list(following)
        return samples

    def _following(self, tokenizer: Tokenizer, asked: Asked, last: Sample) -> tuple[list[Message], list[int]] | None:
        """The steps behind which the next turn stands, and their token ids; None where the answer ends."""
        source = asked.source
        more = self.tools.follow(source.tools or [], last.text, last.steps, cut=not last.ended)
        if more is None:
            return None
        steps = [*last.steps, *more]
        try:
            before = encode_steps(tokenizer, list(source.prompt), steps, source.tools).ids
        except (DataError, ConfigError):
            return None
        return (steps, before) if len(asked.prompt_ids) + len(before) < self.max_length else None
