"""A policy measured on held-out prompts: its own answers, beside those of the policy before it.

Rewards say which of the two answers is preferred (by a model that is itself only as good as its accuracy), and beside
them stands what a policy does to please a reward model without being better: longer answers, repetition, drift away from
its reference, and people's own words becoming less likely.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training.data import texts
from training.data.chat import Tokenizer, encode_chat, encode_response
from training.data.left_out import LeftOut
from training.data.snapshot import Preference
from training.formats.errors import ConfigError, DataError
from training.formats.pairs import WRITTEN
from training.measure import bootstrap, length, metrics
from training.measure.bootstrap import Interval
from training.measure.inference import Policy, Sample, Served
from training.measure.metrics import Intervals, Score


@dataclass(frozen=True)
class Question:
    """A held-out prompt, and the texts that people wrote as an answer to it (as token ids)."""

    source: Preference
    prompt_ids: list[int]
    edits: list[list[int]]

    @property
    def prompt(self) -> str:
        """What is resampled."""
        return self.source.prompt_hash


@dataclass(frozen=True)
class Answers:
    """One policy's answers to the questions, in their order; `intervals` are what can be said of it alone."""

    samples: list[Sample]
    intervals: Intervals


def questions(
    held_out: Sequence[Preference], tokenizer: Tokenizer, max_length: int, left_out: LeftOut | None = None
) -> list[Question]:
    """Each held-out prompt once, in the order of its hash; those that leave no room within `max_length` are left out.

    So are those that the template refuses, which go to `left_out`.

    Prompts whose answers were all as good, or all unacceptable, are asked as well: the hard ones are among them.
    """
    rows: dict[str, list[Preference]] = {}
    for line in held_out:
        rows.setdefault(line.prompt_hash, []).append(line)
    left_out, found = left_out or LeftOut(), []
    for prompt in sorted(rows):
        source = rows[prompt][0]
        messages = list(source.prompt)
        edits = {row.edited: row.steps_of("chosen") for row in rows[prompt] if row.edited and row.outcome != WRITTEN}
        try:
            prompt_ids = encode_chat(tokenizer, messages, add_generation_prompt=True, tools=source.tools)
            encoded = [
                encode_response(tokenizer, messages, text, source.tools, steps=steps).ids
                for text, steps in edits.items()
            ]
        except (DataError, ConfigError) as error:
            left_out.refuse("unrenderable", source.id, error)
            continue
        if len(prompt_ids) < max_length:
            room = max_length - len(prompt_ids)
            found.append(Question(source, prompt_ids, [ids for ids in encoded if len(ids) <= room]))
    return found


def answer(
    policy: Policy,
    asked: Sequence[Question],
    samples: list[Sample],
    start: Served | None,
    *,
    told: Callable[[], None] = lambda: None,
    **options: Any,
) -> Answers:
    """Measure of a policy's answers what needs no other policy.

    Args:
        policy: It was asked.
        asked: The held-out prompts.
        samples: Its answers to them; of one that called tools its last turn is measured.
        start: What the policy was trained from; None where it is that itself.
        told: Called once a batch of prompts, as each is compared with `start`.
        options: Those of the bootstrap.
    """
    words = [texts.words(sample.text) for sample in samples]
    prompts = [question.prompt for question in asked]
    found = {
        "tokens": bootstrap.mean(prompts, [float(len(sample.ids)) for sample in samples], **options),
        **{name: bootstrap.mean(prompts, bad, **options) for name, bad in _faults(samples).items()},
        "distinct_1": Interval(texts.distinct(words, 1), None, None, len(asked)),
        "distinct_2": Interval(texts.distinct(words, 2), None, None, len(asked)),
    }
    if start is not None:
        found |= _divergence(policy, asked, samples, start, told, **options)
    found |= _perplexity(policy, asked, **options)
    return Answers(samples, found)


def compare(
    asked: Sequence[Question], before: Answers, after: Answers, tokenizer: Tokenizer, score: Score, **options: Any
) -> tuple[Intervals, list[dict[str, Any]]]:
    """After against before, prompt by prompt: intervals by name, and a line for each prompt."""
    prompts = [question.prompt for question in asked]
    rewards = [_rewards(asked, side.samples, tokenizer, score) for side in (before, after)]
    lengths = [[float(len(sample.ids)) for sample in side.samples] for side in (before, after)]
    pairs = list(zip(*rewards, strict=True))
    same = [one.text == other.text for one, other in zip(before.samples, after.samples, strict=True)]
    longer = [metrics.win(new, old) for old, new in zip(*lengths, strict=True)]
    found = {
        "win_rate": bootstrap.mean(prompts, [metrics.win(new, old) for old, new in pairs], **options),
        "reward_gain": bootstrap.mean(prompts, [new - old for old, new in pairs], **options),
        "same_answer": bootstrap.mean(prompts, [float(value) for value in same], **options),
        "longer_answer": bootstrap.mean(prompts, longer, **options),
        "length_drift": bootstrap.mean(prompts, [new - old for old, new in zip(*lengths, strict=True)], **options),
    }
    wins, drift = [metrics.win(new, old) for old, new in pairs], [new - old for old, new in zip(*lengths, strict=True)]
    found["length_controlled_win_rate"] = length.controlled(wins, drift, **options)
    faults = [_faults(side.samples) for side in (before, after)]
    for name in faults[0]:
        more = [new - old for old, new in zip(faults[0][name], faults[1][name], strict=True)]
        found[f"more_{name}"] = bootstrap.mean(prompts, more, **options)
    if sum(lengths[0]):
        moments = bootstrap.per_prompt(prompts, list(zip(lengths[1], lengths[0], strict=True)))
        found["length_ratio"] = bootstrap.interval(moments, **options)
    lines = [
        {
            "prompt": list(question.source.prompt),
            "before": old.text,
            "after": new.text,
            "reward_before": pair[0],
            "reward_after": pair[1],
        }
        for question, old, new, pair in zip(asked, before.samples, after.samples, pairs, strict=True)
    ]
    return found, lines


def _faults(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """What is wrong with each answer by its form alone, from 0 to 1."""
    return {
        "cut_off": [float(not sample.ended) for sample in samples],
        "empty": [float(not sample.text.strip()) for sample in samples],
        "repeated_4_grams": [texts.repeated(texts.words(sample.text)) for sample in samples],
    }


def _rewards(asked: Sequence[Question], samples: Sequence[Sample], tokenizer: Tokenizer, score: Score) -> list[float]:
    """Rewards of the sampled texts, encoded as annotated ones are."""
    return score(
        [
            question.prompt_ids
            + encode_response(
                tokenizer,
                list(question.source.prompt),
                sample.text,
                question.source.tools,
                ended=sample.ended,
                steps=sample.steps,
            ).ids
            for question, sample in zip(asked, samples, strict=True)
        ]
    )


def _divergence(
    policy: Policy,
    asked: Sequence[Question],
    samples: Sequence[Sample],
    start: Served,
    told: Callable[[], None],
    **options: Any,
) -> Intervals:
    """KL(policy, start) in nats: the whole next-token distributions compared at each token of a sampled answer.

    The token that ends an answer is one of them: a policy that learnt to say nothing decides nothing else.

    The sum over the vocabulary takes the place of the one token that was drawn (Amini et al., arXiv 2504.10637): the
    same expectation, with less noise, and never negative. It estimates the divergence of whole answers where they are
    sampled at temperature 1; along greedy answers it is the divergence at the places where the policy goes.
    """
    rows = []
    for number, (question, sample) in enumerate(zip(asked, samples, strict=True)):
        if number % policy.batch_size == 0:
            told()
        behind = question.prompt_ids + sample.before
        own = policy.logps(behind, sample.drawn)
        with policy.frozen(start) as other:
            theirs = other.logps(behind, sample.drawn)
        divergence = torch.nn.functional.kl_div(theirs, own, reduction="sum", log_target=True)
        rows.append((float(divergence), float(len(sample.drawn))))
    prompts = [question.prompt for question in asked]
    return {
        "kl_per_token": bootstrap.interval(bootstrap.per_prompt(prompts, rows), **options),
        "kl_per_answer": bootstrap.mean(prompts, [nats for nats, _ in rows], **options),
    }


def _perplexity(policy: Policy, asked: Sequence[Question], **options: Any) -> Intervals:
    """How surprised the policy is by what people wrote: exp of the mean -log p of a token, the end of the turn included."""
    prompts, rows = [], []
    for question in asked:
        for edit in question.edits:
            logps = policy.logps(question.prompt_ids, edit)
            picked = logps.gather(1, torch.tensor(edit, device=logps.device)[:, None])
            prompts.append(question.prompt)
            rows.append((-float(picked.sum()), float(len(edit))))
    if not rows:
        return {}
    moments = bootstrap.per_prompt(prompts, rows)
    found = bootstrap.interval(
        moments, lambda sums: np.exp(np.minimum(bootstrap.ratio(sums), math.log(1e12))), **options
    )
    return {"perplexity_of_edits": found}
