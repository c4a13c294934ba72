"""What annotators said of one prompt, as responses and pairs: the algebra between a snapshot and the rows of a run.

1. Every annotation gives pairs: chosen > rejected, and where the chosen response was improved also edited > chosen and
   edited > rejected (Llama 3, arXiv 2407.21783, 4.2.1). Each once; pairs on a cycle say nothing and are left out.
2. Annotators of the same prompt may contradict each other. The rule is a setting:
   `keep_all`     each annotation is a ranking of its own, as in Llama 3;
   `majority`     one ranking a prompt: of a pair the order that more annotators saw, a tie being half a vote for each;
   `reliability`  the same, with votes weighed by how often an annotator agrees with the others.
3. Each consumer takes its part: the reward model all pairs, DPO the best responses and the edits over the others,
   supervised fine-tuning the edits, or where there are none the best responses.

A response that says nothing is neither an example nor a counterexample: only an edit of the other one remains of its line.
Judgements weaker than the filter are not trained on, but they vote: a weak no is a no, and a pair that most found barely
better is not strong because one found it so (the median of those who agree). Nothing is left out uncounted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median_low

from training.config import Kind, Rule
from training.formats.texts import shows_nothing
from training.snapshot import CUT_OFF, Preference

EDITED_CHOSEN, EDITED_REJECTED, CHOSEN_REJECTED = "edited_over_chosen", "edited_over_rejected", "chosen_over_rejected"
KINDS = (EDITED_CHOSEN, EDITED_REJECTED, CHOSEN_REJECTED)

Votes = Mapping[tuple[str, str], float]  # (one, other) -> 1 where one is better, 0 where the other is, 0.5 for a tie


@dataclass(frozen=True)
class Pair:
    """The text `better` was preferred over the text `worse`.

    `strength` is None where nobody said it, `agreement` the share of votes for this order, `source` a line behind it.
    """

    better: str
    worse: str
    kind: str
    strength: int | None
    source: Preference
    weight: float = 1.0
    agreement: float = 1.0


@dataclass(frozen=True)
class Ranking:
    """One prompt: its responses, what was voted, and the pairs that are strong enough to train on.

    `strengths` are what was said of each order, weak judgements included. `ended` is false for a response that ran into its
    limit of tokens: teaching it an end would teach to stop in mid-sentence. `source` is any line of the prompt.
    """

    source: Preference
    ended: Mapping[str, bool]
    edits: tuple[str, ...]
    votes: Votes
    strengths: Mapping[tuple[str, str], int]
    pairs: tuple[Pair, ...]

    @property
    def best(self) -> tuple[str, ...]:
        """The responses, as sampled, that won and that nothing beat."""
        won = {one for (one, _), vote in self.votes.items() if vote > 0.5}
        lost = {one for (one, _), vote in self.votes.items() if vote < 0.5}
        return tuple(text for text in self.ended if text in won - lost)


def rank(preferences: Iterable[Preference], rule: Rule, min_strength: int) -> tuple[list[Ranking], dict[str, int]]:
    """Rankings in the order of the snapshot, and how many lines and pairs were left out, by reason."""
    dropped: Counter[str] = Counter(ties=0, all_unacceptable=0, empty_responses=0, same_text=0, filtered_by_strength=0)
    annotations: dict[int | str, list[Preference]] = defaultdict(list)
    for row in preferences:
        annotations[row.annotation_id].append(row)
        if row.outcome == "tie":
            dropped["ties"] += 1
        elif row.chosen is None:
            dropped["all_unacceptable"] += 1
        elif row.silent:
            dropped["empty_responses"] += 1
        elif not _is(row.strength, min_strength):
            dropped["filtered_by_strength"] += 1
        elif row.chosen == row.rejected:
            dropped["same_text"] += 1
    expanded = [_annotation(rows, min_strength) for rows in annotations.values()]
    consistent = [replace(ranking, pairs=without_contradictions(ranking.pairs)) for ranking in expanded]
    merged = consistent if rule == "keep_all" else _merge(consistent, rule)
    rankings = [
        replace(ranking, pairs=tuple(p for p in ranking.pairs if _is(p.strength, min_strength))) for ranking in merged
    ]
    found, kept = (sum(len(ranking.pairs) for ranking in some) for some in (expanded, merged))
    dropped["merged_weak"] = kept - sum(len(ranking.pairs) for ranking in rankings)
    agreeing = 0
    if rule != "keep_all":
        said = Counter(_key(ranking, pair) for ranking in consistent for pair in ranking.pairs)
        agreeing = sum(said[_key(ranking, pair)] - 1 for ranking in merged for pair in ranking.pairs)
    return rankings, {**dropped, "dropped_contradictory": found - kept - agreeing, "merged_agreeing": agreeing}


def take(ranking: Ranking, consumer: Kind) -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """The responses and the pairs of a ranking that one consumer trains on; both may be empty.

    The reward model takes all. DPO takes pairs of an edit or a best response over one that lost: what is in the middle of
    a longer ranking is no example to follow, and an edit over what it improved is seldom a preference of content.
    Fine-tuning takes no pairs.
    """
    if consumer == "sft":
        return ranking.edits or ranking.best, ()
    pairs = ranking.pairs
    if consumer == "dpo":
        winners, losers = {*ranking.edits, *ranking.best}, set(ranking.ended) - set(ranking.best) - set(ranking.edits)
        pairs = tuple(pair for pair in pairs if pair.better in winners and pair.worse in losers)
    in_pairs = {text for pair in pairs for text in (pair.better, pair.worse)}
    return tuple(text for text in dict.fromkeys((*ranking.edits, *ranking.ended)) if text in in_pairs), pairs


def without_contradictions(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
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


def _annotation(rows: list[Preference], min_strength: int) -> Ranking:
    """What one annotator said of one prompt."""
    ended: dict[str, bool] = {}
    votes: dict[tuple[str, str], float] = {}
    edits: dict[str, None] = {}
    for row in rows:
        for text, reason in ((row.chosen, row.chosen_finish_reason), (row.rejected, row.rejected_finish_reason)):
            if text is not None and not shows_nothing(text):
                ended.setdefault(text, reason not in CUT_OFF)
        if row.edited is not None:  # a person wrote it to its end
            edits[row.edited] = None
        if row.chosen is not None and row.chosen != row.rejected and not row.silent:
            # The same two texts in both orders are no opinion; a response alone has won against nothing.
            vote = 0.5 if row.outcome == "tie" or votes.get((row.chosen, row.rejected or "")) in {0.0, 0.5} else 1.0
            votes[row.chosen, row.rejected or ""] = vote
            if row.rejected is not None:
                votes[row.rejected, row.chosen] = 1.0 - vote
    judged = [row for row in rows if row.outcome != "tie" and row.chosen is not None]
    strengths = {key: pair.strength for key, pair in _pairs(judged).items() if pair.strength is not None}
    pairs = _pairs([row for row in judged if _is(row.strength, min_strength)])
    return Ranking(rows[0], ended | dict.fromkeys(edits, True), tuple(edits), votes, strengths, tuple(pairs.values()))


def _pairs(rows: Sequence[Preference]) -> dict[tuple[str, str], Pair]:
    """The distinct pairs of lines, those with the edited text first."""
    found: dict[tuple[str, str], Pair] = {}
    for kind in KINDS:
        for row in rows:
            better = row.chosen if kind == CHOSEN_REJECTED else row.edited
            worse = row.chosen if kind == EDITED_CHOSEN else row.rejected
            if better is None or worse is None or better == worse:
                continue
            if not shows_nothing(better) and not shows_nothing(worse):
                found.setdefault((better, worse), Pair(better, worse, kind, row.strength, row, row.weight))
    return found


def _merge(rankings: list[Ranking], rule: Rule) -> list[Ranking]:
    by_prompt: dict[str, list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        by_prompt[ranking.source.prompt_hash].append(ranking)
    trust = reliability(by_prompt.values()) if rule == "reliability" else {}
    voted = [_vote(group, trust) if len(group) > 1 else group[0] for group in by_prompt.values()]
    return [replace(ranking, pairs=without_contradictions(ranking.pairs)) for ranking in voted]


def _vote(rankings: list[Ranking], trust: Mapping[str, float]) -> Ranking:
    """The rankings of one prompt as one."""
    weights = [trust.get(annotator(ranking), 1.0) for ranking in rankings]
    votes: dict[tuple[str, str], float] = {}
    for key in dict.fromkeys(key for ranking in rankings for key in ranking.votes):
        cast = [(weight, r.votes[key]) for weight, r in zip(weights, rankings, strict=True) if key in r.votes]
        votes[key] = sum(weight * vote for weight, vote in cast) / sum(weight for weight, _ in cast)
    said: dict[tuple[str, str], list[Pair]] = defaultdict(list)
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
        votes=votes,
        strengths={},
        pairs=tuple(pair for pair in pairs if pair.agreement > 0.5),
    )


def reliability(prompts: Iterable[Sequence[Ranking]]) -> dict[str, float]:
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


def annotator(ranking: Ranking) -> str:
    """Who made it; where the file does not say, the annotation stands for a person of its own."""
    return ranking.source.annotator or f"annotation {ranking.source.annotation_id}"


def _is(strength: int | None, least: int) -> bool:
    return strength is None or strength >= least


def _key(ranking: Ranking, pair: Pair) -> tuple[str, str, str]:
    return ranking.source.prompt_hash, pair.better, pair.worse
