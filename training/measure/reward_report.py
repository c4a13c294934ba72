"""A reward model measured: accuracy in all its parts, best-of-4, what length alone would reach, and what words would."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from training.data.chat import Response, Tokenizer, encode_chat, encode_response
from training.data.left_out import LeftOut
from training.formats.errors import ConfigError, DataError
from training.measure import baselines, bootstrap, metrics
from training.measure.judged import Four, Judgement, fours
from training.measure.metrics import Intervals, Score


@dataclass(frozen=True)
class Encoded:
    """A judgement as token ids."""

    judgement: Judgement
    prompt_ids: list[int]
    chosen: Response
    rejected: Response


@dataclass(frozen=True)
class Measured:
    """Intervals by name, and a line for each pair so that a person can look at what stands behind them."""

    intervals: Intervals
    pairs: list[dict[str, Any]]


def encode(
    judgements: Sequence[Judgement], tokenizer: Tokenizer, max_length: int, left_out: LeftOut | None = None
) -> list[Encoded]:
    """Token ids of those that fit into `max_length`; those that the template refuses go to `left_out`."""
    left_out, found = left_out or LeftOut(), []
    for judgement in judgements:
        prompt, tools = list(judgement.source.prompt), judgement.source.tools
        try:
            encoded = Encoded(
                judgement,
                encode_chat(tokenizer, prompt, add_generation_prompt=True, tools=tools),
                _response(tokenizer, judgement, "chosen"),
                _response(tokenizer, judgement, "rejected"),
            )
        except (DataError, ConfigError) as error:
            left_out.refuse("unrenderable", judgement.source.id, error)
            continue
        if len(encoded.prompt_ids) + max(len(encoded.chosen.ids), len(encoded.rejected.ids)) <= max_length:
            found.append(encoded)
    return found


def _response(tokenizer: Tokenizer, judgement: Judgement, side: Literal["chosen", "rejected"]) -> Response:
    return encode_response(
        tokenizer,
        list(judgement.source.prompt),
        getattr(judgement, side),
        judgement.source.tools,
        ended=getattr(judgement, f"{side}_ended"),
        steps=judgement.source.steps_of(side),
    )


def measure(held_out: Sequence[Encoded], tokenizer: Tokenizer, score: Score, **options: Any) -> Measured:
    """What the model says of the held-out judgements; `options` are those of the bootstrap."""
    judgements = [encoded.judgement for encoded in held_out]
    prompts = [judgement.prompt for judgement in judgements]
    groups, count = fours(judgements), len(held_out)
    rewards = score(  # at once, because the answers of a group are those of the pairs
        [encoded.prompt_ids + encoded.chosen.ids for encoded in held_out]
        + [encoded.prompt_ids + encoded.rejected.ids for encoded in held_out]
        + [sequence for group in groups for sequence in _sequences(group, tokenizer)]
    )
    chosen, rejected, of_groups = rewards[:count], rewards[count : 2 * count], rewards[2 * count :]
    lengths = [(sum(encoded.chosen.content), sum(encoded.rejected.content)) for encoded in held_out]
    wins = [metrics.win(better, worse) for better, worse in zip(chosen, rejected, strict=True)]
    capabilities = [judgement.source.capability for judgement in judgements]
    intervals = metrics.of_rewards(
        prompts, [judgement.source.strength for judgement in judgements], chosen, rejected, lengths, **options
    )
    intervals |= metrics.grouped(metrics.CAPABILITY, prompts, capabilities, wins, **options)
    intervals |= _best_of_four(groups, of_groups, **options)
    pairs = [
        {
            "id": judgement.source.id,
            "prompt": list(judgement.source.prompt),
            "chosen": judgement.chosen,
            "rejected": judgement.rejected,
            "strength": judgement.source.strength,
            "reward_chosen": better,
            "reward_rejected": worse,
        }
        for judgement, better, worse in zip(judgements, chosen, rejected, strict=True)
    ]
    return Measured(intervals, pairs)


def compare(train: Sequence[Judgement], measured: Measured, held_out: Sequence[Encoded], **options: Any) -> Intervals:
    """What a bag of words reaches on the same rows, and how far the model is above it (paired, so the interval is fair)."""
    judgements = [encoded.judgement for encoded in held_out]
    prompts = [judgement.prompt for judgement in judgements]
    words = baselines.bag_of_words(train, judgements)
    wins = [metrics.win(pair["reward_chosen"], pair["reward_rejected"]) for pair in measured.pairs]
    above = [mine - theirs for mine, theirs in zip(wins, words, strict=True)]
    return {
        "held_out/bag_of_words_accuracy": bootstrap.mean(prompts, words, **options),
        "held_out/accuracy_above_bag_of_words": bootstrap.mean(prompts, above, **options),
    }


def paired(before: Measured, after: Measured, held_out: Sequence[Encoded], **options: Any) -> Intervals:
    """How far the model is above the one before it on the same pairs."""
    prompts = [encoded.judgement.prompt for encoded in held_out]
    wins = [
        [metrics.win(pair["reward_chosen"], pair["reward_rejected"]) for pair in side.pairs] for side in (before, after)
    ]
    above = [mine - theirs for theirs, mine in zip(*wins, strict=True)]
    return {"held_out/accuracy_above_before": bootstrap.mean(prompts, above, **options)}


def _sequences(group: Four, tokenizer: Tokenizer) -> list[list[int]]:
    """The best answer and the three others, each behind the prompt."""
    prompt, tools = list(group.best.source.prompt), group.best.source.tools
    prompt_ids = encode_chat(tokenizer, prompt, add_generation_prompt=True, tools=tools)
    answers = [(group.best.chosen, group.best.chosen_ended), *group.others]
    return [prompt_ids + encode_response(tokenizer, prompt, text, tools, ended=ended).ids for text, ended in answers]


def _best_of_four(groups: Sequence[Four], rewards: Sequence[float], **options: Any) -> Intervals:
    """Overall, and for the groups in which no answer is borrowed. An answer by chance is right in 0.25."""
    if not groups:
        return {}
    prompts = [group.best.prompt for group in groups]
    right = [metrics.best_of(rewards[at], rewards[at + 1 : at + 4]) for at in range(0, len(rewards), 4)]
    borrowed = [f"borrowed_{group.borrowed}" for group in groups]
    return {
        "held_out/best_of_4": bootstrap.mean(prompts, right, **options),
        **metrics.grouped("held_out/best_of_4/", prompts, borrowed, right, **options),
    }
