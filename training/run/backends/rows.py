"""Our token ids as the examples that TRL's trainers take after they have tokenised: nothing is rendered a second time.

Each pair is an example of its own, edited > chosen > rejected being expanded as for Corral's trainers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from training.data.chat import Response
from training.data.rows import Row, RowPair
from training.formats.errors import ConfigError
from training.formats.settings import RunConfig

Example = dict[str, Any]


def refuse_weights(config: RunConfig, rows: Sequence[Row]) -> None:
    """TRL's trainers count every example once.

    Raises:
        ConfigError: TRL would train, and a row has another weight.
    """
    if config.trainer == "trl" and any(
        weight != 1.0 for row in rows for weight in (row.weight, *(pair.weight for pair in row.pairs))
    ):
        raise ConfigError(
            "the rows have weights, which TRL's trainers do not know: remove the column weight and data.newest_weight, "
            'or set trainer = "corral"'
        )


def of_reward(rows: Sequence[Row], margins: Sequence[float]) -> list[Example]:
    """For RewardTrainer; `margins` go by strength, 1 to 4, and are empty where there are none."""
    return [
        {"chosen_ids": _whole(row, pair.better), "rejected_ids": _whole(row, pair.worse)}
        | ({"margin": margins[pair.strength - 1] if pair.strength else 0.0} if margins else {})
        for row, pair in _pairs(rows)
    ]


def of_dpo(rows: Sequence[Row]) -> list[Example]:
    """For DPOTrainer, with the log-probabilities of the reference that the rows know.

    Raises:
        ConfigError: see :func:`_refuse_given`.
    """
    _refuse_given(rows)
    return [
        {
            "prompt_ids": row.prompt_ids,
            "chosen_ids": row.responses[pair.better].ids,
            "rejected_ids": row.responses[pair.worse].ids,
            "ref_chosen_logps": row.reference[pair.better],
            "ref_rejected_logps": row.reference[pair.worse],
        }
        for row, pair in _pairs(rows)
    ]


def of_sft(rows: Sequence[Row]) -> list[Example]:
    """For SFTTrainer, each response with its prompt, of which nothing is learnt."""
    return [
        {"input_ids": _whole(row, index), "labels": _labels(row, response)}
        for row in rows
        for index, response in enumerate(row.responses)
    ]


def of_odds(rows: Sequence[Row]) -> list[Example]:
    """For ORPOTrainer, which has no reference."""
    return [
        {
            f"{side}_{name}": value
            for side, index in (("chosen", pair.better), ("rejected", pair.worse))
            for name, value in (
                ("input_ids", _whole(row, index)),
                ("attention_mask", [1] * len(_whole(row, index))),
                ("labels", _labels(row, row.responses[index])),
            )
        }
        for row, pair in _pairs(rows)
    ]


def unpaired(rows: Sequence[Row], batch: int, seed: int) -> tuple[list[Row], list[bool]]:
    """For KTOTrainer: each side of each pair alone, in an order drawn from `seed`, and which of them were preferred.

    A row has two responses: its own, and the one that the KL term is estimated with, which TRL takes from the neighbour in a
    batch (the completions of a batch, turned by one).
    """
    _refuse_given(rows)
    sides = [(row, index, index == pair.better) for row, pair in _pairs(rows) for index in (pair.better, pair.worse)]
    order = torch.randperm(len(sides), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn = [sides[place] for place in order]
    found = []
    for start in range(0, len(drawn), batch):
        together = drawn[start : start + batch]
        for place, (row, index, _) in enumerate(together):
            neighbour, its, _ = together[place - 1]
            found.append(Row(row.id, row.prompt_ids, (row.responses[index], neighbour.responses[its])))
    return found, [liked for _, _, liked in drawn]


def of_unpaired(rows: Sequence[Row], liked: Sequence[bool]) -> list[Example]:
    """For KTOTrainer, from rows as `unpaired` makes them, with what their reference thinks."""
    return [
        {
            "prompt_ids": row.prompt_ids,
            "completion_ids": row.responses[0].ids,
            "KL_completion_ids": row.responses[1].ids,
            "ref_logps": row.reference[0],
            "ref_KL_logps": row.reference[1],
            "label": label,
        }
        for row, label in zip(rows, liked, strict=True)
    ]


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[Row, RowPair]]:
    return ((row, pair) for row in rows for pair in row.pairs)


def _refuse_given(rows: Sequence[Row]) -> None:
    """These trainers of TRL take a response as one piece.

    Raises:
        ConfigError: a response holds what tools answered, which they would learn to say.
    """
    if any(any(response.given) for row in rows for response in row.responses):
        raise ConfigError(
            "some responses called tools, and TRL's trainers of pairs would learn what the tools answered: "
            'set trainer = "corral"'
        )


def _labels(row: Row, response: Response) -> list[int]:
    """Nothing is learnt of the prompt, nor of what tools answered."""
    learnt = set(response.learnt)
    own = [token if place in learnt else -100 for place, token in enumerate(response.ids)]
    return [-100] * len(row.prompt_ids) + own


def _whole(row: Row, index: int) -> list[int]:
    return row.prompt_ids + row.responses[index].ids
