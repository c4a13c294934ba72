"""Makes a database with judgements of every kind, and writes every view of it into a folder, beside a tiny model.

    python -m scripts.consumers.views FOLDER

``FOLDER/SHAPE.FORMAT`` are the files, ``FOLDER/SHAPE/`` the zips unpacked, ``FOLDER/long/`` files whose only row with tools comes
from the last annotation, behind more than the ten megabytes of which ``datasets`` takes the types; ``FOLDER/rows.json`` says how
many rows each has.
"""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import select
from sqlalchemy.orm import Session

import app.site.tables  # noqa: F401 - so that foreign keys between domains resolve
from app.accounts.models import User
from app.judgements.vocabulary import Outcome
from app.kernel.db import get_engine
from app.kernel.settings import ROOT, get_settings
from app.preferences.export import Progress, stream
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch
from app.services.embedded import ensure_database, temporary_postgres

LONG = (Shape.TRL, Shape.TRL_REWARD, Shape.KTO)
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lyon"}'}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather in Lyon?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    {"role": "assistant", "content": "It is sunny."},
    {"role": "user", "content": "And tomorrow?"},
]
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief; =1+1 is no formula."},
    {"role": "user", "content": "Which city? مرحبا 你好"},
    {"role": "assistant", "content": "Which country?"},
    {"role": "user", "content": "France."},
]


def judge(session: Session, person: User, messages: list[dict[str, Any]], tools: Any = None, **said: Any) -> None:
    """An annotation of a training prompt with these messages."""
    from tests.factories import make_annotation, make_batch, make_comparison, make_prompt

    prompt = make_prompt(session, make_batch(session), held_out=False)
    prompt.messages, prompt.tools = messages, tools
    session.commit()
    make_annotation(session, person, make_comparison(session, prompt=prompt), **said)


def fill(session: Session, person: User) -> None:
    """Judgements of every kind that an export has rows of."""
    from tests.factories import make_annotation, make_labelling, make_labels, make_writing

    for number, messages in enumerate(([TURNS[1]], TURNS, [TURNS[1]], TURNS)):
        judge(
            session, person, messages, strengths=[number + 1], edited_text="Paris, of course." if number > 1 else None
        )
    judge(session, person, [TURNS[1]], outcome=Outcome.TIE)
    judge(session, person, [TURNS[1]], outcome=Outcome.ALL_UNACCEPTABLE)
    make_annotation(session, person, make_writing(session)[0], outcome=Outcome.WRITTEN, edited_text="Red!")
    make_labels(session, person, make_labelling(session, "2 + 2 = 4\n4 + 1 = 6")[0], 1, -1, right_step="4 + 1 = 5")


def write(session: Session, folder: Path, shape: Shape, form: Format, batches: list[int]) -> int:
    """A view of these batches; how many rows it has."""
    progress = Progress()
    body = b"".join(stream(session, shape, form, ExportFilter(batch_ids=tuple(batches)), progress))
    if form is Format.ZIP:
        zipfile.ZipFile(io.BytesIO(body)).extractall(folder / shape.value)
    else:
        (folder / f"{shape.value}.{form.value}").write_bytes(body)
    return progress.rows


def tiny_model(folder: Path) -> None:
    """A random model of two layers whose tokens are bytes, with the template of ChatML."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.training.conftest import byte_tokenizer

    tokenizer = byte_tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ends)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Write everything."""
    from tests.factories import make_user

    folder = Path(sys.argv[1])
    (folder / "long").mkdir()
    with temporary_postgres("fsync=off") as server:
        ensure_database(server, "views")
        os.environ["DATABASE_URL"] = server.replace("/postgres?", "/views?")
        os.environ["BROKER_URL"] = "memory://"
        get_settings.cache_clear()
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
        with Session(get_engine(), expire_on_commit=False) as session:
            person = make_user(session, name="Alice")
            for _ in range(60):
                judge(session, person, [{"role": "user", "content": "long " * 40_000}])
            long = list(session.scalars(select(Batch.id)))
            fill(session, person)
            judge(session, person, CALLED, TOOLS)
            other = list(session.scalars(select(Batch.id).where(Batch.id.not_in(long)).order_by(Batch.id)))
            rows = {}
            for shape, form in product(Shape, Format):
                rows[f"{shape}.{form}"] = write(session, folder, shape, form, other)
            for shape in LONG:
                rows[f"long/{shape}.jsonl"] = write(session, folder / "long", shape, Format.JSONL, [*long, other[-1]])
        get_engine().dispose()
    (folder / "rows.json").write_text(json.dumps(rows))
    tiny_model(folder / "model")


if __name__ == "__main__":
    main()
