"""What annotators said of one prompt, as responses and pairs: the algebra between a snapshot and the rows of a run.

1. Every annotation gives pairs: chosen > rejected, and where the chosen response was improved also edited > chosen and
   edited > rejected (Llama 3, arXiv 2407.21783, 4.2.1). Each once; pairs on a cycle say nothing and are left out.
2. Annotators of the same prompt may contradict each other. The rule is a setting:
   `keep_all`     each annotation is a ranking of its own, as in Llama 3;
   `majority`     one ranking a prompt: of a pair the order that more annotators saw, a tie being half a vote for each;
   `reliability`  the same, with votes weighed by how often an annotator agrees with the others.
3. Each consumer takes its part: the reward model all pairs, DPO the best responses and the edits over the others,
   supervised fine-tuning what people wrote, edits and whole answers, or where there is nothing the best responses.

A response that says nothing is neither an example nor a counterexample: only an edit of the other one remains of its line.
Judgements weaker than the filter are not trained on, but they vote: a weak no is a no, and a pair that most found barely
better is not strong because one found it so (the median of those who agree). Nothing is left out uncounted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median_low
from typing import Any, Generic, Literal, TypeVar

from training.formats.pairs import CHOSEN_REJECTED, KINDS, TIE, WRITTEN, Pair, Stated, expand, strong_enough
from training.formats.texts import shows_nothing

Rule = Literal["keep_all", "majority", "reliability"]
Consumer = Literal["reward", "dpo", "sft"]
CUT_OFF = frozenset({"length", "stopped"})
"""Finish reasons of a response that did not end: the limit of tokens was reached, or a person stopped it as it was written."""

PREFERS_NOTHING = ("ties", "all_unacceptable", "written", "empty_responses", "same_text")
"""Why a line of the held-out side gives no pair."""

Steps = tuple[dict[str, Any], ...]
Votes = Mapping[tuple[str, str], float]  # (one, other) -> 1 where one is better, 0 where the other is, 0.5 for a tie


@dataclass(frozen=True, kw_only=True)
class Line(Stated[str]):
    """A row of an annotation with what merging asks of it. `weight` scales the loss of its pairs."""

    id: str
    annotation_id: int | str
    prompt_hash: str
    annotator: str | None = None
    chosen_finish_reason: str | None = None
    rejected_finish_reason: str | None = None
    weight: float = 1.0
    steps: dict[str, Any] | None = None
    """By side, `chosen` or `rejected`: the calls of tools before the response, and what they answered."""

    def steps_of(self, side: Literal["chosen", "rejected"]) -> Steps:
        """What came before one of the responses; nothing where it called no tool."""
        return tuple((self.steps or {}).get(side) or ())

    @property
    def called_tools(self) -> bool:
        """Whether steps came before one of the responses."""
        return any((self.steps or {}).values())

    @property
    def silent(self) -> bool:
        """Whether one of the responses says nothing."""
        return any(text is not None and shows_nothing(text) for text in (self.chosen, self.rejected))


L = TypeVar("L", bound=Line)


@dataclass(frozen=True)
class Ranking(Generic[L]):
    """One prompt: its responses, what was voted, and the pairs that are strong enough to train on.

    `strengths` are what was said of each order, weak judgements included. `ended` is false for a response that ran into its
    limit of tokens: teaching it an end would teach to stop in mid-sentence. `written` are answers that people wrote from
    scratch: nobody compared them, so they are in no pair. `source` is any line of the prompt. `steps` are what came before a
    response that called tools; an edit stands behind those of the response that it improves.
    """

    source: L
    ended: Mapping[str, bool]
    edits: tuple[str, ...]
    written: tuple[str, ...]
    votes: Votes
    strengths: Mapping[tuple[str, str], int]
    pairs: tuple[Pair[str, L], ...]
    steps: Mapping[str, Steps] = field(default_factory=dict)

    @property
    def best(self) -> tuple[str, ...]:
        """The responses, as sampled, that won and that nothing beat."""
        won = {one for (one, _), vote in self.votes.items() if vote > 0.5}
        lost = {one for (one, _), vote in self.votes.items() if vote < 0.5}
        return tuple(text for text in self.ended if text in won - lost)


def rank(preferences: Iterable[L], rule: Rule, min_strength: int) -> tuple[list[Ranking[L]], dict[str, int]]:
    """Rankings in the order of the snapshot, and how many lines and pairs were left out, by reason."""
    dropped: Counter[str] = Counter(dict.fromkeys((*PREFERS_NOTHING, "filtered_by_strength"), 0))
    annotations: dict[int | str, list[L]] = defaultdict(list)
    for row in preferences:
        annotations[row.annotation_id].append(row)
        if row.outcome == TIE:
            dropped["ties"] += 1
        elif row.outcome == WRITTEN:
            dropped["written"] += 1
        elif row.chosen is None:
            dropped["all_unacceptable"] += 1
        elif row.silent:
            dropped["empty_responses"] += 1
        elif not strong_enough(row.strength, min_strength):
            dropped["filtered_by_strength"] += 1
        elif row.chosen == row.rejected:
            dropped["same_text"] += 1
    expanded = [_annotation(rows, min_strength) for rows in annotations.values()]
    consistent = [replace(ranking, pairs=without_contradictions(ranking.pairs)) for ranking in expanded]
    merged = consistent if rule == "keep_all" else _merge(consistent, rule)
    rankings = [
        replace(ranking, pairs=tuple(p for p in ranking.pairs if strong_enough(p.strength, min_strength)))
        for ranking in merged
    ]
    found, kept = (sum(len(ranking.pairs) for ranking in some) for some in (expanded, merged))
    dropped["merged_weak"] = kept - sum(len(ranking.pairs) for ranking in rankings)
    agreeing = 0
    if rule != "keep_all":
        said = Counter(_key(ranking, pair) for ranking in consistent for pair in ranking.pairs)
        agreeing = sum(said[_key(ranking, pair)] - 1 for ranking in merged for pair in ranking.pairs)
    return rankings, {**dropped, "dropped_contradictory": found - kept - agreeing, "merged_agreeing": agreeing}


def take(ranking: Ranking[L], consumer: Consumer) -> tuple[tuple[str, ...], tuple[Pair[str, L], ...]]:
    """The responses and the pairs of a ranking that one consumer trains on; both may be empty.

    The reward model takes all. DPO takes pairs of an edit or a best response over one that lost: what is in the middle of
    a longer ranking is no example to follow, and an edit over what it improved is seldom a preference of content.
    Fine-tuning takes no pairs.
    """
    if consumer == "sft":
        return tuple(dict.fromkeys((*ranking.written, *ranking.edits))) or ranking.best, ()
    pairs = ranking.pairs
    if consumer == "dpo":
        winners, losers = {*ranking.edits, *ranking.best}, set(ranking.ended) - set(ranking.best) - set(ranking.edits)
        pairs = tuple(pair for pair in pairs if pair.better in winners and pair.worse in losers)
    in_pairs = {text for pair in pairs for text in (pair.better, pair.worse)}
    return tuple(text for text in dict.fromkeys((*ranking.edits, *ranking.ended)) if text in in_pairs), pairs


def held_out_pairs(lines: Iterable[L]) -> tuple[list[Pair[str, L]], dict[str, int]]:
    """What annotators judged, as chosen > rejected pairs of every strength; two annotators are two judgements.

    And how many lines prefer nothing, by `held_out_` and the reason. Without what people wrote: an edit is written, not judged,
    and a phrase that an editor likes would make it easy to recognise.
    """
    ranked, dropped = rank([replace(line, edited=None) for line in lines], "keep_all", min_strength=1)
    pairs = [pair for ranking in ranked for pair in ranking.pairs if pair.kind == CHOSEN_REJECTED]
    return pairs, {f"held_out_{reason}": dropped[reason] for reason in PREFERS_NOTHING}


def without_contradictions(pairs: Sequence[Pair[str, L]]) -> tuple[Pair[str, L], ...]:
    """Leave out the pairs on a cycle: two candidates with the same text at different ranks say nothing about it."""
    worse_than: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        worse_than[pair.better].add(pair.worse)

    def reaches(start: str, goal: str) -> bool:
        seen, stack = set(), [start]
        while stack:
            text = stack.pop()
            if text == goal:
                return True
            if text not in seen:
                seen.add(text)
                stack.extend(worse_than[text])
        return False

    return tuple(pair for pair in pairs if not reaches(pair.worse, pair.better))


def _annotation(rows: list[L], min_strength: int) -> Ranking[L]:
    """What one annotator said of one prompt."""
    ended: dict[str, bool] = {}
    votes: dict[tuple[str, str], float] = {}
    edits: dict[str, None] = {}
    written: dict[str, None] = {}
    for row in rows:
        for text, reason in ((row.chosen, row.chosen_finish_reason), (row.rejected, row.rejected_finish_reason)):
            if text is not None and not shows_nothing(text):
                ended.setdefault(text, reason not in CUT_OFF)
        if row.edited is not None:  # a person wrote it to its end
            (written if row.outcome == WRITTEN else edits)[row.edited] = None
        if row.chosen is not None and row.chosen != row.rejected and not row.silent:
            # The same two texts in both orders are no opinion; a response alone has won against nothing.
            vote = 0.5 if row.outcome == TIE or votes.get((row.chosen, row.rejected or "")) in {0.0, 0.5} else 1.0
            votes[row.chosen, row.rejected or ""] = vote
            if row.rejected is not None:
                votes[row.rejected, row.chosen] = 1.0 - vote
    strengths = {key: pair.strength for key, pair in _pairs(rows).items() if pair.strength is not None}
    pairs = _pairs(rows, min_strength)
    ended |= dict.fromkeys((*written, *edits), True)
    found = tuple(pairs.values())
    return Ranking(rows[0], ended, tuple(edits), tuple(written), votes, strengths, found, _steps(rows))


def _steps(rows: Iterable[L]) -> dict[str, Steps]:
    """What came before each text; of one text twice, what came before the first."""
    found: dict[str, Steps] = {}
    for row in rows:
        chosen = row.steps_of("chosen")
        for text, steps in ((row.chosen, chosen), (row.edited, chosen), (row.rejected, row.steps_of("rejected"))):
            if text is not None:
                found.setdefault(text, steps)
    return {text: steps for text, steps in found.items() if steps}


def _pairs(rows: Sequence[L], min_strength: int = 1) -> dict[tuple[str, str], Pair[str, L]]:
    """The distinct pairs of lines that say something, those with the edited text first."""
    found: dict[tuple[str, str], Pair[str, L]] = {}
    for pair in sorted(expand(rows, min_strength), key=lambda pair: KINDS.index(pair.kind)):
        if pair.better != pair.worse and not shows_nothing(pair.better) and not shows_nothing(pair.worse):
            found.setdefault((pair.better, pair.worse), replace(pair, weight=pair.source.weight))
    return found


def _merge(rankings: list[Ranking[L]], rule: Rule) -> list[Ranking[L]]:
    by_prompt: dict[str, list[Ranking[L]]] = defaultdict(list)
    for ranking in rankings:
        by_prompt[ranking.source.prompt_hash].append(ranking)
    trust = reliability(by_prompt.values()) if rule == "reliability" else {}
    voted = [_vote(group, trust) if len(group) > 1 else group[0] for group in by_prompt.values()]
    return [replace(ranking, pairs=without_contradictions(ranking.pairs)) for ranking in voted]


def _vote(rankings: list[Ranking[L]], trust: Mapping[str, float]) -> Ranking[L]:
    """The rankings of one prompt as one."""
    weights = [trust.get(annotator(ranking), 1.0) for ranking in rankings]
    votes: dict[tuple[str, str], float] = {}
    for key in dict.fromkeys(key for ranking in rankings for key in ranking.votes):
        cast = [(weight, r.votes[key]) for weight, r in zip(weights, rankings, strict=True) if key in r.votes]
        votes[key] = sum(weight * vote for weight, vote in cast) / sum(weight for weight, _ in cast)
    said: dict[tuple[str, str], list[Pair[str, L]]] = defaultdict(list)
    for kind in KINDS:
        for ranking in rankings:
            for pair in ranking.pairs:
                if pair.kind == kind:
                    said[pair.better, pair.worse].append(pair)
    pairs = []
    for key, supporters in said.items():
        strengths = [ranking.strengths[key] for ranking in rankings if key in ranking.strengths]
        pairs.append(
            replace(
                supporters[0],
                strength=median_low(strengths) if strengths else None,
                weight=sum(pair.weight for pair in supporters) / len(supporters),
                agreement=votes.get(key, 1.0),  # nobody voted against an edit
            )
        )
    return Ranking(
        source=rankings[0].source,
        ended={text: ended for ranking in reversed(rankings) for text, ended in ranking.ended.items()},
        edits=tuple(dict.fromkeys(text for ranking in rankings for text in ranking.edits)),
        written=tuple(dict.fromkeys(text for ranking in rankings for text in ranking.written)),
        votes=votes,
        strengths={},
        pairs=tuple(pair for pair in pairs if pair.agreement > 0.5),
        steps={text: steps for ranking in reversed(rankings) for text, steps in ranking.steps.items()},
    )


def reliability(prompts: Iterable[Sequence[Ranking[L]]]) -> dict[str, float]:
    """How often each annotator sees a pair as the mean of the others does, between 0 and 1; one half where unknown.

    (agreements + 1) / (comparisons + 2), Laplace's rule of succession: few comparisons say little. A tie, of the
    annotator or of the others, is half an agreement.
    """
    agreed: dict[str, float] = defaultdict(float)
    compared: Counter[str] = Counter()
    for rankings in prompts:
        for ranking in rankings:
            for key, vote in ranking.votes.items():
                others = [other.votes[key] for other in rankings if other is not ranking and key in other.votes]
                if others and key[0] < key[1]:  # both orders are there: one of them is enough
                    mean = sum(others) / len(others)
                    agreed[annotator(ranking)] += 0.5 if 0.5 in {vote, mean} else float((vote > 0.5) == (mean > 0.5))
                    compared[annotator(ranking)] += 1
    return {name: (agreed[name] + 1) / (compared[name] + 2) for name in compared}


def annotator(ranking: Ranking[L]) -> str:
    """Who made it; where the file does not say, the annotation stands for a person of its own."""
    return ranking.source.annotator or f"annotation {ranking.source.annotation_id}"


def _key(ranking: Ranking[L], pair: Pair[str, L]) -> tuple[str, str, str]:
    return ranking.source.prompt_hash, pair.better, pair.worse
