"""A small installation with everything that a backup has to bring over, in a database and a data folder of its own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.preferences import service as preferences
from app.preferences.forms import ExportFilter
from app.prompts.intake import SentFile
from app.registry.models import CheckpointKind
from app.registry.service import register_checkpoint
from app.services import embedded, migrating
from app.sources import service as sources
from app.sources.forms import SourceIn
from app.sources.storing import stored
from app.upkeep.audit import Problem, audit
from app.upkeep.drift import drop
from tests.factories import make_annotation, make_comparison, make_user
from training.formats import checkpoints

TABLES = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


@dataclass(frozen=True)
class Place:
    """A database and a data folder."""

    name: str
    """Of the database."""
    url: str
    data_dir: Path

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session there; settings name this data folder meanwhile."""
        engine = make_engine(self.url)
        with pytest.MonkeyPatch.context() as patch, Session(engine, expire_on_commit=False) as session:
            patch.setenv("CORRAL_DATA_DIR", str(self.data_dir))
            get_settings.cache_clear()
            yield session
        get_settings.cache_clear()
        engine.dispose()

    def audit(self) -> list[Problem]:
        with self.session() as session:
            return audit(session)

    def rows(self) -> dict[str, str | None]:
        """Table → a hash of all its rows; checkpoints without the place where they lie."""
        with psycopg.connect(self.url) as connection:
            names = [row[0] for row in connection.execute(TABLES)]
            hashed = "SELECT md5(string_agg((to_jsonb(r) - 'path')::text, '' ORDER BY (to_jsonb(r) - 'path')::text)) FROM {} r"
            return {
                name: (connection.execute(hashed.format(name)).fetchone() or [None])[0]
                for name in names
                if name not in {"annotation_changes", "alembic_version"}
            }

    def files(self) -> dict[str, str]:
        """Path → hash of everything below the data folder."""
        return {
            path.relative_to(self.data_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.data_dir.rglob("*"))
            if path.is_file()
        }

    def is_untouched(self) -> bool:
        """Whether nothing of a backup is here."""
        with psycopg.connect(self.url) as connection:
            schema = connection.execute("SELECT to_regnamespace('corral_restore') IS NULL").fetchone()
        return self.rows() == {} and self.files() == {} and schema == (True,)


def place(server: str, name: str, folder: Path) -> Place:
    """An empty database on ``server`` and an empty folder."""
    own = f"corral_{name}_{os.getpid()}"
    drop(server, own)
    embedded.ensure_database(server, own)
    (folder / name).mkdir()
    return Place(own, urlsplit(server)._replace(path=f"/{own}").geturl(), folder / name)


def live_in(here: Place) -> None:
    """Alice judges five items, texts that quoting could break among them; a policy is trained, and a snapshot frozen."""
    migrating.upgrade(here.url)
    with here.session() as session:
        alice = make_user(session)
        for number in range(4):
            make_annotation(session, alice, comment=f"{number}: 重要：\\. \t \n 'quoted' $$ -- \\N ؟ مرحبا")
        make_annotation(session, alice, edited_text="Better than either.\r\n\\")
        snapshot(session)
        source(session)
        checkpoint(session, here.data_dir, "policy-r1-aa")
        session.commit()


def judge(here: Place) -> None:
    """Alice judges one more item."""
    with here.session() as session:
        alice = session.query(User).filter_by(name="Alice").one()
        make_annotation(session, alice, make_comparison(session))


def snapshot(session: Session) -> None:
    preferences.build_snapshot(session, preferences.request_snapshot(session, None, ExportFilter()))


def source(session: Session) -> None:
    """A file that trainings may learn from beside what people judged."""
    wanted = SourceIn.model_validate({"name": "Letters", "kind": "preferences", "origin": "human"})
    rows = b'{"prompt": "Why?", "chosen": "So.", "rejected": "No."}\n'
    with stored(SentFile("letters.jsonl", rows), wanted) as found:
        sources.add(session, None, wanted, found)


def checkpoint(session: Session, data_dir: Path, name: str) -> None:
    """A policy with a manifest, as training leaves it."""
    folder = data_dir / "checkpoints" / name
    with checkpoints.write(folder, checkpoints.Manifest(name=name, kind="policy", base_model="base")) as draft:
        (draft / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 40)
        (draft / "more").mkdir()
        (draft / "more" / "notes.json").write_text("{}")
    register_checkpoint(
        session,
        name=name,
        kind=CheckpointKind.POLICY,
        parent=None,
        metrics={},
        manifest_sha256=checkpoints.sha256(folder / checkpoints.MANIFEST),
    )
