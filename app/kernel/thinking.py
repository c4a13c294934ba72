"""A model's thinking, separated from its answer by the markers that each model family writes."""

from __future__ import annotations

import re

_MARKS = [
    *((f"<{name}>", f"</{name}>") for name in ("think", "thinking", "thought", "thoughts", "reasoning", "seed:think")),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
]
_OPENED = re.compile(
    r"\s*(?:<\|start\|>assistant)?(?P<mark>" + "|".join(re.escape(opening) for opening, _ in _MARKS) + ")"
)
_CLOSED = re.compile("|".join(re.escape(closing) for _, closing in _MARKS))
_SENTENCE_ENDS = ".!?:…。！？：)”\"'"
_ENDS = re.compile(r"(?:<\|end\|>)?(?:<\|start\|>assistant)?\s*\Z")
"""What stands between the thought and the channel of the answer."""


def parted(text: str) -> tuple[str, str] | None:
    """The thought and the answer, or None where the text does not begin with a thought.

    A thought that never ends is all there is. The mark that opens it is often part of the prompt, so a lone mark that closes
    it is enough, unless it is only spoken of.
    """
    opened = _OPENED.match(text)
    if opened is not None:
        closing = dict(_MARKS)[opened["mark"]]
        thought, _, answer = text[opened.end() :].partition(closing)
    else:
        closed = _CLOSED.search(text)
        if closed is None or _is_spoken_of(text, closed):
            return None
        thought, answer = text[: closed.start()], text[closed.end() :]
    thought = _ENDS.sub("", thought)
    return (thought, answer) if thought.strip() else None


def _is_spoken_of(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark that closes stands in code, in quotes or in the middle of a sentence."""
    before, after = text[: mark.start()], text[mark.end() :]
    opening = {closing: opening for opening, closing in _MARKS}[mark[0]]
    if opening in before or before.count("```") % 2 or before.rpartition("\n")[2].count("`") % 2:
        return True
    if before[-1:] in {'"', "'", "“", "‘", "「"}:
        return True
    if not before.endswith((" ", "\t")) or not after.partition("\n")[0].strip():
        return False
    return not before.rstrip(" \t").endswith((*_SENTENCE_ENDS, "\n"))
