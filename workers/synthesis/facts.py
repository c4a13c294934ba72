"""A question about a piece of a document, asked without the piece: does the model know it, and say so where it does not?

A model writes the question from the piece. The piece is the reference, and a judge holds answers against it.
"""

from __future__ import annotations

from typing import Final

from workers.synthesis.chunks import all_pieces
from workers.synthesis.protocol import Dropped, Ended, Impossible, Made, Order, asked, object_in

WRITE: Final = """\
Read the passage. Write one question about a fact that it states, and the answer in a few words. Whoever is asked does not see \
the passage: name what the question is about in full, and speak of no passage, text or author. Write both in the language of the \
passage. Reply with a JSON object with the keys "question" and "answer" and nothing else.

Passage:
{passage}"""
LONGEST: Final = 1_000
"""Characters of a question; a longer one carries the passage along."""


class Facts:
    """One question a piece."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """The question about the piece of that number."""
        if not order.documents:
            raise Impossible("No document was given: add the texts whose facts are asked for.")
        found = all_pieces(order.documents)
        if number >= len(found):
            raise Ended
        piece = found[number]
        written = object_in(await order.ask(WRITE.format(passage=piece.text)), "question", "answer")
        question, answer = written["question"].strip(), written["answer"].strip()
        if len(question) > LONGEST:
            raise Dropped(
                f"the question has {len(question):,} characters, {LONGEST:,} is the most: it repeats the passage"
            )
        if _plain(answer) in _plain(question):
            raise Dropped(f"the question holds its answer: {answer[:80]}")
        return Made(
            messages=asked(question),
            capability="factual",
            source={"document": piece.document.name, "piece": piece.number, "answer": answer},
            reference=piece.text,
            tests=[{"kind": "facts"}],
        )


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" .").split())
