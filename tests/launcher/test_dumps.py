"""An installation moves: its database through a dump, its checkpoints as a folder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from app.commands import db
from app.kernel.errors import BadInput, CannotStart
from app.services import embedded, migrating
from app.services.dumps import dump, load
from tests.factories import make_annotation, make_user
from tests.patience import PATIENCE

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with embedded.temporary_postgres() as url:
        yield url


def empty(server: str, name: str) -> str:
    embedded.ensure_database(server, name)
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="module")
def lived_in(server: str) -> str:
    """A database in which Alice has judged, beside texts that quoting could break."""
    url = empty(server, "lived_in")
    migrating.upgrade(url)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with Session(engine) as session:
        make_annotation(session, make_user(session), comment="重要：\\. \t \n 'quoted' $$ -- ؟ مرحبا")
    engine.dispose()
    return url


def content(url: str) -> dict[str, str | None]:
    """Table → a hash of all its rows; of transactions, which mean nothing elsewhere, nothing."""
    with psycopg.connect(url) as connection:
        names = [row[0] for row in connection.execute(TABLES)]
        hashed = "SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {} AS row"
        return {
            name: (connection.execute(hashed.format(name)).fetchone() or [None])[0]
            for name in names
            if name != "annotation_changes"
        }


def test_what_is_loaded_is_what_was_dumped_and_keeps_its_promises(server: str, lived_in: str, tmp_path: Path) -> None:
    dump(lived_in, tmp_path / "corral.sql")
    assert stat.S_IMODE((tmp_path / "corral.sql").stat().st_mode) == 0o600
    there = empty(server, "there")
    load(there, tmp_path / "corral.sql")
    assert content(there) == content(lived_in)
    assert content(there)["annotations"] is not None
    with psycopg.connect(there) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute("UPDATE annotations SET comment = 'another'")
    migrating.upgrade(there)
    assert content(there) == content(lived_in)
    with psycopg.connect(there) as connection:  # sequences go on where they were
        fresh = connection.execute(
            "SELECT nextval(pg_get_serial_sequence('annotations', 'id')) > max(id) FROM annotations"
        )
        assert fresh.fetchone() == (True,)


def test_a_dump_is_read_into_an_empty_database_only(lived_in: str, tmp_path: Path) -> None:
    dump(lived_in, tmp_path / "corral.sql")
    before = content(lived_in)
    with pytest.raises(BadInput, match="This database is not empty"):
        load(lived_in, tmp_path / "corral.sql")
    assert content(lived_in) == before


def test_half_a_dump_loads_nothing(server: str, lived_in: str, tmp_path: Path) -> None:
    dump(lived_in, tmp_path / "corral.sql")
    text = (tmp_path / "corral.sql").read_text()
    (tmp_path / "half.sql").write_text(text[: text.index("COPY public.annotations") + 200])
    there = empty(server, "half")
    with pytest.raises(CannotStart, match=r"psql failed: .+"):
        load(there, tmp_path / "half.sql")
    assert content(there) == {}


def test_a_file_is_never_overwritten_and_a_failed_dump_leaves_none(lived_in: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadInput, match=r"mine cannot be created \(File exists\)"):
        dump(lived_in, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"
    with pytest.raises(CannotStart, match=r"pg_dump failed: .*does not exist"):
        dump(lived_in.replace("/lived_in?", "/nowhere?"), tmp_path / "none.sql")
    assert not (tmp_path / "none.sql").exists()


@pytest.mark.slow
def test_a_laptop_moves_by_two_commands(tmp_path: Path) -> None:
    def corral(folder: str, *arguments: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "app.commands.cli", "--data-dir", str(tmp_path / folder), *arguments]
        clean = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "BROKER_URL"}}
        return subprocess.run(command, input=said, env=clean, capture_output=True, timeout=PATIENCE, check=True)

    corral(
        "old",
        "user",
        "add",
        "alice@example.org",
        "--name",
        "Alice",
        "--role",
        "annotator",
        said=b"quiet-otter-27-lamp\n",
    )
    sql = corral("old", "db", "dump", "-").stdout
    corral("new", "db", "load", "-", said=sql)
    assert b"alice@example.org" in corral("new", "user", "list").stdout


def test_a_server_of_its_own_is_dumped_by_its_own_program(tmp_path: Path) -> None:
    asked = CliRunner().invoke(db.commands, ["dump", str(tmp_path / "corral.sql")])
    assert "dump it with the pg_dump of that server" in str(asked.exception)
    assert not (tmp_path / "corral.sql").exists()
