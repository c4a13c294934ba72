"""A question for each piece of a document, asked with the whole document in view: the model must find the place.

A model writes question and answer from the piece alone. The answer is kept as the reference, and checked by a program where it
is a number.
"""

from __future__ import annotations

from typing import Any, Final

from workers.synthesis.chunks import all_pieces
from workers.synthesis.protocol import Ended, Impossible, Made, Order, asked, object_in

WRITE: Final = """\
Read the passage. Write one question that can be answered from this passage alone, and its answer in a few words. The question \
must be clear to somebody who does not know which passage it comes from. Write both in the language of the passage. Reply with a \
JSON object with the keys "question" and "answer" and nothing else.

Passage:
{passage}"""


class DocumentQuestions:
    """One question a piece."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """The question about the piece of that number."""
        if not order.documents:
            raise Impossible("No document was given: add the texts that questions are asked about.")
        found = all_pieces(order.documents)
        if number >= len(found):
            raise Ended
        piece = found[number]
        written: dict[str, Any] = object_in(await order.ask(WRITE.format(passage=piece.text)), "question", "answer")
        question, answer = written["question"].strip(), written["answer"].strip()
        return Made(
            messages=asked(f"{piece.document.text.strip()}\n\n{question}"),
            capability="long context",
            source={"document": piece.document.name, "piece": piece.number, "passage": piece.text},
            reference=answer,
        )
