"""From preferences to token ids, with every line accounted for.

1. `snapshot.read` verifies what is read; `formats.rankings.rank` turns lines into responses and pairs, `take` picks a consumer's.
2. Training prompts that contain a held-out prompt, judged or not, are left out (`decontamination`), and rounds or batches
   that the run does not want: the reward model learns from all preferences so far, DPO may be told to take the latest only.
3. A `Row` is one prompt and its responses, tokenised once each, and the pairs between them. In a dialogue the prompt is
   everything before the judged turn, so that only this turn is trained on.
4. Held out is what annotators judged, of every strength and without edits: an edit is written, not judged, and a phrase
   that an editor likes would make it easy to recognise.

What is too long is left out, counted and named. Left out: weighting by strength (filtered instead, as in Llama 3).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training.data import asked, snapshot
from training.data import beside as sides
from training.data.beside import NOTHING, Beside
from training.data.chat import Response, Tokenizer, encode_chat, encode_response
from training.data.left_out import NAMED_ROWS, UNUSABLE, LeftOut
from training.data.rules import language_of
from training.data.snapshot import Preference
from training.formats import mix, rankings
from training.formats import pairs as algebra
from training.formats.errors import ConfigError, DataError
from training.formats.mix import Portion
from training.formats.pairs import KINDS
from training.formats.rankings import CUT_OFF, held_out_pairs
from training.formats.settings import DataConfig, Kind

Ranking = rankings.Ranking[Preference]
Pair = algebra.Pair[str, Preference]
UNRENDERABLE = "dropped_unrenderable"


@dataclass(frozen=True)
class RowPair:
    """Response `better` of a row was preferred over response `worse`; see `formats.pairs.Pair` for the rest."""

    better: int
    worse: int
    kind: str
    strength: int | None
    weight: float = 1.0
    agreement: float = 1.0


@dataclass(frozen=True)
class Row:
    """One prompt, its responses behind it, and the pairs between them; fine-tuning rows have no pairs, but a `weight`.

    `reference` is the log-probability of each response's scored tokens under the reference (training/run/reference.py).
    """

    id: str
    prompt_ids: list[int]
    responses: tuple[Response, ...]
    pairs: tuple[RowPair, ...] = ()
    reference: tuple[float, ...] = ()
    weight: float = 1.0

    @property
    def length(self) -> int:
        """Tokens with the prompt once."""
        return len(self.prompt_ids) + sum(len(response.ids) for response in self.responses)

    @property
    def unshared_length(self) -> int:
        """Tokens of the same work as a padding-free trainer of pairs has it: each pair with the prompt, twice."""
        sides = [side for pair in self.pairs for side in (pair.better, pair.worse)] or range(len(self.responses))
        return sum(len(self.prompt_ids) + len(self.responses[side].ids) for side in sides)


@dataclass(frozen=True)
class Example:
    """A tokenised pair. Both responses stand behind the same `prompt_ids`."""

    row_id: str
    kind: str
    strength: int | None
    prompt_ids: list[int]
    chosen: Response
    rejected: Response
    prompt_hash: str = ""
    capability: str | None = None

    @property
    def length(self) -> int:
        """Tokens of the longer of the two sequences."""
        return len(self.prompt_ids) + max(len(self.chosen.ids), len(self.rejected.ids))


@dataclass(frozen=True)
class Prepared:
    """What a run trains and is measured on, the counts behind it, and the hash of the snapshot."""

    rows: list[Row]
    held_out: list[Example]
    counts: dict[str, Any]
    snapshot_sha256: str

    @property
    def train(self) -> list[Example]:
        """The pairs of the rows, one by one."""
        return [
            Example(
                row.id, pair.kind, pair.strength, row.prompt_ids, row.responses[pair.better], row.responses[pair.worse]
            )
            for row in self.rows
            for pair in row.pairs
        ]


def prepare(
    path: Path,
    config: DataConfig,
    tokenizer: Tokenizer,
    *,
    max_held_out: int,
    consumer: Kind = "reward",
    verified: Path | None = None,
    beside: Beside = NOTHING,
) -> Prepared:
    """Read, filter, rank and tokenise a snapshot or a file for one consumer.

    `verified` is a file of pairs that checks found, not people, and `beside` are sources by their weights
    (training/data/beside.py). Both have no vote among what people said.

    Raises:
        ConfigError: the tokenizer has no chat template.
        DataError: the data is damaged, or nothing in it can be trained on.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError("the base model has no chat template: choose an instruction-tuned one")
    left_out = LeftOut()
    preferences, digest = snapshot.read(path, config.held_out_percent, left_out)
    if consumer != "sft" and preferences and all(row.rejected is None for row in preferences):
        raise DataError(
            f"{path} has completions but no rejected responses, which only training.sft can train on: run that"
        )
    train = [row for row in preferences if row.split == "train"]
    held_out = [row for row in preferences if row.split == "held_out"]
    counts: dict[str, Any] = {"rows": len(preferences), "train_rows": len(train), "held_out_rows": len(held_out)}
    allowed = [row for row in train if not row.written_by(config.leave_out)]
    wanted = _newest_weighted(_of_wanted_batches(allowed, config), config)
    unseen = asked.held_out(path) | {row.prompt_hash: row.prompt for row in held_out}
    clean = sides.clean(wanted, unseen.values(), config)
    counts |= {
        "left_out_by_checkpoint": len(train) - len(allowed),
        "left_to_other_batches": len(allowed) - len(wanted),
        "dropped_contaminated": len(wanted) - len(clean),
    }
    ranked, dropped = rankings.rank(clean, config.conflicts, 1 if consumer == "sft" else config.min_strength)
    counts |= dropped | _written(ranked, dropped, consumer)
    found = sides.of_verifiers(verified, unseen.values(), config)
    counts |= {"verifier_pairs": len(found)} if verified else {}
    ranked += found
    more, said = sides.of_sources(beside, unseen, config, consumer, salt=digest)
    ranked += more
    counts |= sides.counted(said)
    rows, counted = _rows(ranked, consumer, tokenizer, config.max_length, left_out)
    counts |= counted
    # By prompt hash, so that two runs on the same snapshot are measured on the same pairs whatever their seeds.
    pairs, silent = held_out_pairs(held_out)
    counts |= silent
    judged = sorted(pairs, key=lambda pair: (pair.source.prompt_hash, pair.source.id))
    examples = _examples(judged, tokenizer, config.max_length, left_out)
    counts |= {"held_out_pairs": min(len(examples), max_held_out), "held_out_pairs_available": len(examples)}
    reasons = left_out.counts
    unrenderable = reasons["held_out_dropped_unrenderable"]
    counts |= {"held_out_dropped_too_long": len(judged) - len(examples) - unrenderable}
    counts |= {reason: reasons[reason] for reason in (*UNUSABLE, UNRENDERABLE, f"held_out_{UNRENDERABLE}")}
    counts |= {"left_out_rows": left_out.named, "refusal": str(left_out.refusal) if left_out.refusal else None}
    if not rows:
        if isinstance(left_out.refusal, ConfigError):  # it is the base model that will not do
            raise left_out.refusal
        raise DataError(_nothing_left(path, counts, config))
    return Prepared(rows, examples[:max_held_out], counts, digest)


def unrenderable(counts: dict[str, Any]) -> str:
    """Which rows the template of the base model refuses, and why the first of them; for whoever reads a report."""
    train, held_out = counts[UNRENDERABLE], counts[f"held_out_{UNRENDERABLE}"]
    named = [
        row for reason in (UNRENDERABLE, f"held_out_{UNRENDERABLE}") for row in counts["left_out_rows"].get(reason, ())
    ]
    return f"{train} training rows and {held_out} held-out rows cannot be rendered ({', '.join(named)}): {counts['refusal']}"


def _of_wanted_batches(train: list[Preference], config: DataConfig) -> list[Preference]:
    rounds = sorted({row.round for row in train if row.round is not None})[-config.latest_rounds :]
    return [
        row
        for row in train
        if (not config.batches or row.batch in config.batches) and (not config.latest_rounds or row.round in rounds)
    ]


def _written(ranked: list[Ranking], dropped: dict[str, int], consumer: Kind) -> dict[str, int]:
    """Answers that people wrote from scratch: what is fine-tuned imitates them; what learns from pairs leaves them out."""
    if consumer != "sft":
        return {"written": dropped["written"], "written_answers": 0}
    return {"written": 0, "written_answers": sum(len(ranking.written) for ranking in ranked)}


def _newest_weighted(train: list[Preference], config: DataConfig) -> list[Preference]:
    """The same, those of the newest round counting `newest_weight` times as much; where nobody knows, all are older."""
    if config.newest_weight == 1.0:
        return train
    newest = _newest(train, config.newest_after)
    return [replace(row, weight=row.weight * config.newest_weight) if newest(row) else row for row in train]


def _newest(train: list[Preference], after: int | None) -> Callable[[Preference], bool]:
    if after is not None:
        return lambda row: isinstance(row.annotation_id, int) and row.annotation_id > after
    last = max((row.round for row in train if row.round is not None), default=None)
    return lambda row: last is not None and row.round == last


def _rows(
    ranked: list[Ranking], consumer: Kind, tokenizer: Tokenizer, max_length: int, left_out: LeftOut
) -> tuple[list[Row], dict[str, Any]]:
    """The rows of a consumer and what was counted while they were made; an over-long response takes its pairs along."""
    rows: list[Row] = []
    portions: list[Portion] = []
    too_long: set[str] = set()
    dropped = 0
    for ranking in ranked:
        texts, pairs = rankings.take(ranking, consumer)
        if not texts:
            continue
        lines = list(dict.fromkeys(pair.source.id for pair in pairs)) or [ranking.source.id]
        tokenised = _tokenise(ranking, texts, tokenizer, left_out, UNRENDERABLE, lines)
        if tokenised is None:
            continue
        prompt_ids, responses = tokenised
        fits = {text for text in texts if len(prompt_ids) + len(responses[text].ids) <= max_length}
        kept = [pair for pair in pairs if {pair.better, pair.worse} <= fits]
        if len(fits) < len(texts):
            dropped += len(pairs) - len(kept) if pairs else len(texts) - len(fits)
            too_long |= {pair.source.id for pair in pairs if pair not in kept} or {ranking.source.id}
        if pairs:  # a response without a pair teaches nothing; in fine-tuning there are no pairs
            fits &= {text for pair in kept for text in (pair.better, pair.worse)}
        if fits:
            rows.append(_row(ranking, prompt_ids, {text: responses[text] for text in texts if text in fits}, kept))
            portions.append(_portion(ranking, rows[-1]))
    kinds = Counter(pair.kind for row in rows for pair in row.pairs)
    counts: dict[str, Any] = {"prompts": len(rows), "responses": sum(len(row.responses) for row in rows)}
    counts |= {"pairs": kinds.total()} | {f"pairs/{kind}": kinds[kind] for kind in KINDS}
    counts |= {"tokens": sum(row.length for row in rows), "tokens_unshared": sum(r.unshared_length for r in rows)}
    counts |= {"mix": [asdict(each) for each in mix.together(portions)]}
    return rows, counts | {"dropped_too_long": dropped, "too_long_rows": sorted(too_long)[:NAMED_ROWS]}


def _portion(ranking: Ranking, row: Row) -> Portion:
    """What a row adds to the mix; in a snapshot everything is of people, who wrote it or preferred it."""
    source = ranking.source
    asked = next((turn["content"] for turn in reversed(source.prompt) if turn["role"] == "user"), "")
    return Portion(
        capability=source.capability or mix.UNKNOWN,
        language=source.language or language_of(asked) or mix.UNKNOWN,
        source=source.source or "human",
        rows=1,
        tokens=sum(len(response.learnt) for response in row.responses),
    )


def _row(ranking: Ranking, prompt_ids: list[int], responses: dict[str, Response], pairs: list[Pair]) -> Row:
    place = {text: index for index, text in enumerate(responses)}
    return Row(
        id=str(ranking.source.annotation_id),
        prompt_ids=prompt_ids,
        responses=tuple(responses.values()),
        pairs=tuple(RowPair(place[p.better], place[p.worse], p.kind, p.strength, p.weight, p.agreement) for p in pairs),
        weight=ranking.source.weight,
    )


def _tokenise(
    ranking: Ranking,
    texts: Iterable[str],
    tokenizer: Tokenizer,
    left_out: LeftOut,
    reason: str,
    lines: Sequence[str],
) -> tuple[list[int], dict[str, Response]] | None:
    """The ids of the prompt and of each text; None where the template refuses them, which leaves out `lines`."""
    source = ranking.source
    prompt = list(source.prompt)
    try:
        prompt_ids = encode_chat(tokenizer, prompt, add_generation_prompt=True, tools=source.tools)
        return prompt_ids, {
            text: encode_response(
                tokenizer, prompt, text, source.tools, ended=ranking.ended[text], steps=ranking.steps.get(text, ())
            )
            for text in texts
        }
    except (DataError, ConfigError) as error:
        left_out.refuse(reason, lines[0], error, *lines[1:])
        return None


def _examples(judged: list[Pair], tokenizer: Tokenizer, max_length: int, left_out: LeftOut) -> list[Example]:
    examples = []
    for pair in judged:
        ended = {
            pair.source.chosen or "": pair.source.chosen_finish_reason not in CUT_OFF,
            pair.source.rejected or "": pair.source.rejected_finish_reason not in CUT_OFF,
        }
        steps = {pair.source.rejected or "": pair.source.steps_of("rejected")}
        steps[pair.source.chosen or ""] = pair.source.steps_of("chosen")
        ranking = Ranking(pair.source, ended, (), (), {}, {}, (), steps)
        texts, lines = (pair.better, pair.worse), [pair.source.id]
        tokenised = _tokenise(ranking, texts, tokenizer, left_out, f"held_out_{UNRENDERABLE}", lines)
        if tokenised is None:
            continue
        prompt_ids, responses = tokenised
        example = Example(
            row_id=pair.source.id,
            kind=pair.kind,
            strength=pair.strength,
            prompt_ids=prompt_ids,
            chosen=responses[pair.better],
            rejected=responses[pair.worse],
            prompt_hash=pair.source.prompt_hash,
            capability=pair.source.capability,
        )
        if example.length <= max_length:
            examples.append(example)
    return examples


def _nothing_left(path: Path, counts: dict[str, Any], config: DataConfig) -> str:
    """Where all rows went, the most of them first, and what to do about those."""
    reasons = [
        (counts["held_out_rows"] if not counts["train_rows"] else 0, "rows are all held out", "annotate more prompts"),
        (
            counts["filtered_by_strength"],
            f"rows are weaker than data.min_strength {config.min_strength}",
            "annotate more prompts or lower min_strength",
        ),
        (counts["ties"], "rows are ties", "annotate more prompts"),
        (counts["written"], "rows are answers written from scratch", "annotate comparisons or run training.sft"),
        (counts["empty_responses"], "rows have an empty response", "annotate more prompts"),
        (counts["same_text"], "rows have the same text twice", "annotate more prompts"),
        *((counts[reason], f"rows {words}", "correct those rows") for reason, words in UNUSABLE.items()),
        (
            counts[UNRENDERABLE],
            f"rows cannot be rendered ({counts['refusal']})",
            "correct those rows or choose another base model",
        ),
        (counts["all_unacceptable"], "rows have no acceptable response", "annotate more prompts"),
        (
            counts["left_out_by_checkpoint"],
            "rows are of models that may not be learnt from",
            "correct data.leave_out or compare other models",
        ),
        (
            counts["left_to_other_batches"],
            "rows are of other batches",
            "correct data.batches and data.latest_rounds",
        ),
        (counts["dropped_contaminated"], "rows repeat a held-out prompt", "annotate other prompts"),
        (
            counts["merged_weak"],
            "pairs are weaker by the median of those who agree",
            "annotate more prompts or lower min_strength",
        ),
        (counts["dropped_contradictory"], "pairs contradict each other", "annotate more prompts"),
        (
            counts["dropped_too_long"],
            f"pairs are longer than data.max_length {config.max_length}",
            "raise data.max_length or annotate shorter prompts",
        ),
    ]
    found = sorted((reason for reason in reasons if reason[0]), key=lambda reason: -reason[0])
    said = ", ".join(f"{count} {what}" for count, what, _ in found) or "no row prefers one response to another"
    remedy = found[0][2] if found else "annotate more prompts"
    return f"{path} leaves no pair to train on: of {counts['rows']} rows, {said}: {remedy}"
