"""Summaries of whole documents: a model summarises each piece, then the summaries, which makes the reference."""

from __future__ import annotations

import asyncio
from typing import Final

from workers.synthesis.chunks import pieces
from workers.synthesis.protocol import Dropped, Ended, Impossible, Made, Order, asked

PIECE: Final = (
    "Summarise this passage in two or three sentences, in its own language. Reply with the summary alone.\n\n{text}"
)
WHOLE: Final = """\
These are summaries of the parts of one text, in their order. Write one summary of the whole text in one paragraph, in the same \
language. Reply with the summary alone.

{text}"""
ASKED: Final = "Summarise this text in one paragraph, in its own language.\n\n{text}"
MOST_PIECES: Final = 60


class DocumentSummaries:
    """One summary a document."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """The document of that number, to be summarised."""
        if not order.documents:
            raise Impossible("No document was given: add the texts that are to be summarised.")
        if number >= len(order.documents):
            raise Ended
        document = order.documents[number]
        parts = pieces(document)
        if len(parts) > MOST_PIECES:
            raise Dropped(f"{document.name} has {len(parts)} pieces, {MOST_PIECES} is the most: split it")
        summaries = await asyncio.gather(*(order.ask(PIECE.format(text=part.text)) for part in parts))
        blank = [part.number for part, summary in zip(parts, summaries, strict=True) if not summary.strip()]
        if blank or not parts:
            raise Dropped(
                f"the model wrote nothing about piece {blank[0]} of {document.name}" if blank else "it is blank"
            )
        whole = summaries[0] if len(parts) == 1 else await order.ask(WHOLE.format(text="\n\n".join(summaries)))
        if not whole.strip():
            raise Dropped(f"the model wrote no summary of {document.name}")
        return Made(
            messages=asked(ASKED.format(text=document.text.strip())),
            capability="long context",
            source={"document": document.name, "pieces": len(parts)},
            reference=whole.strip(),
        )
