"""The drill: a backup made while people judge, everything lost, and all of it back elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import text
from typer.testing import CliRunner

from app.commands import cli
from app.kernel.db import make_engine
from app.kernel.errors import BadInput, CannotStart, Conflict
from app.kernel.failpoints import EXIT_STATUS
from app.kernel.settings import get_settings
from app.services import migrating
from app.services.instance import Instance, Running
from app.upkeep.backups import rows
from app.upkeep.backups.archive import Contents
from app.upkeep.backups.making import back_up
from app.upkeep.backups.restoring import Restored, restore, sound
from app.upkeep.drift import drop
from tests.patience import PATIENCE
from tests.upkeep.living_in import Place, checkpoint, judge, live_in, place, snapshot

EARLIER = "8d41f6a0b93c"
"""A release before the newest: the table of changes, among others, came after it."""


@pytest.fixture(scope="module")
def here(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    lived_in = place(server_url, "here", tmp_path_factory.mktemp("installations"))
    live_in(lived_in)
    yield lived_in
    drop(server_url, lived_in.name)


@pytest.fixture(scope="module")
def kept(here: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    file = tmp_path_factory.mktemp("backups") / "corral.backup"
    back_up(here.url, here.data_dir, file)
    return file


@pytest.fixture
def there(server_url: str, tmp_path: Path) -> Iterator[Place]:
    empty = place(server_url, "there", tmp_path)
    yield empty
    drop(server_url, empty.name)


def restored(file: Path, into: Place) -> Restored:
    with sound(file, into.data_dir) as backup:
        return restore(into.url, backup, into.data_dir)


def test_what_was_lost_while_people_judged_is_all_back_elsewhere(
    server_url: str, there: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = place(server_url, "lost", tmp_path)
    live_in(lost)
    before, one_table = lost.rows(), rows._out

    def meanwhile(connection: Any, writer: Any, table: str, names: list[str]) -> int:
        if table in {"annotations", "comparisons", "prompts"}:
            judge(lost)  # what comes in between one table and the next
        if table == "snapshots":
            with lost.session() as session:
                checkpoint(session, lost.data_dir, "policy-r2-bb")
                snapshot(session)
                session.commit()
        return one_table(connection, writer, table, names)

    monkeypatch.setattr(rows, "_out", meanwhile)
    contents = back_up(lost.url, lost.data_dir, tmp_path / "corral.backup")
    assert lost.rows() != before
    files = {name: digest for name, digest in lost.files().items() if re.search("policy-r1|snapshot-|sources/", name)}
    shutil.rmtree(lost.data_dir)
    drop(server_url, lost.name)

    assert restored(tmp_path / "corral.backup", there).contents == contents
    assert there.rows() == before
    assert there.files().items() <= files.items()
    assert len([name for name in there.files() if name.startswith("checkpoints/policy-r1-aa/")]) == 3
    assert len([name for name in there.files() if name.startswith("sources/")]) == 2
    assert not [name for name in there.files() if "policy-r2" in name]
    assert there.audit() == []
    judge(there)  # sequences, keys and triggers go on where they were
    assert there.audit() == []
    with psycopg.connect(there.url) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute("UPDATE annotations SET comment = 'another'")


def constraints(where: Place) -> list[Any]:
    asked = """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2
    """
    with psycopg.connect(where.url) as connection:
        return connection.execute(asked).fetchall()


def test_an_older_backup_is_restored_and_migrated(server_url: str, here: Place, there: Place, tmp_path: Path) -> None:
    old = place(server_url, "old", tmp_path)
    engine = make_engine(old.url)
    with engine.connect() as connection:
        command.upgrade(migrating.config(connection), EARLIER)
        of = "(email, name, role, password_hash, pseudonym) VALUES ('alice@example.org', 'Alice', 'admin', 'x', 'p1')"
        connection.execute(text(f"INSERT INTO users {of}"))
        connection.execute(text("CREATE TABLE theirs AS SELECT 1 AS one"))
        connection.commit()
    engine.dispose()
    contents = back_up(old.url, old.data_dir, tmp_path / "old.backup")
    assert contents.revision == EARLIER
    assert restored(tmp_path / "old.backup", there).left_out == ["theirs"]
    with psycopg.connect(there.url) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("Alice",)]
        assert {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")} == migrating.heads()
    assert there.audit() == []
    assert constraints(there) == constraints(here)
    drop(server_url, old.name)


@pytest.mark.parametrize("part", ["torn", "a byte", "a byte of its hash", "empty", "something else"])
def test_a_damaged_backup_is_refused_before_anything_is_changed(
    kept: Path, there: Place, tmp_path: Path, part: str
) -> None:
    whole = kept.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "torn": whole[: middle + 7],
        "a byte": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "a byte of its hash": whole[:-2] + (b"0" if whole[-2:-1] != b"0" else b"1") + whole[-1:],
        "empty": b"",
        "something else": b"SELECT 1;\n" * 100,
    }[part]
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(BadInput, match=r"nothing was changed\.$"):
        restored(tmp_path / "damaged", there)
    assert there.is_untouched()


def test_a_backup_is_a_tar_that_says_what_is_in_it(kept: Path) -> None:
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with tarfile.open(kept) as tar:
        names = tar.getnames()
        contents = Contents.read((tar.extractfile("contents.json") or pytest.fail("none")).read())
    assert names[-1] == "contents.json"
    assert "database/annotations/00001.copy.gz" in names
    assert contents.tables["annotations"].rows == 5
    assert contents.damaged == []
    assert list(kept.parent.iterdir()) == [kept]  # no draft stays


def test_a_living_installation_is_not_restored_over(here: Place, kept: Path) -> None:
    before = here.rows(), here.files()
    with pytest.raises(BadInput, match="This database is not empty"):
        restored(kept, here)
    assert (here.rows(), here.files()) == before


def test_nor_a_database_that_somebody_works_with(kept: Path, there: Place) -> None:
    told = "Corral is connected to this database"
    with psycopg.connect(there.url, application_name="corral"), pytest.raises(Conflict, match=told):
        restored(kept, there)
    assert there.is_untouched()


def test_nor_a_data_folder_with_other_files_in_its_places(kept: Path, there: Place) -> None:
    mine = there.data_dir / "checkpoints" / "policy-r1-aa" / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(Conflict, match="exists and is not what the backup holds"):
        restored(kept, there)
    assert there.rows() == {}
    assert mine.read_text() == "mine"


def test_a_backup_of_a_newer_release_is_refused(here: Place, there: Place, tmp_path: Path) -> None:
    with here.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'fedcba987654'"))
        session.commit()
        try:
            back_up(here.url, here.data_dir, tmp_path / "newer")
        finally:
            session.execute(
                text("UPDATE alembic_version SET version_num = :head"), {"head": next(iter(migrating.heads()))}
            )
            session.commit()
    with pytest.raises(BadInput, match="made by a newer Corral"):
        restored(tmp_path / "newer", there)
    assert there.is_untouched()


def test_what_fails_half_way_is_taken_out_again(kept: Path, there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: rows.Loading) -> None:
        raise psycopg.errors.ForeignKeyViolation("a key points nowhere")

    monkeypatch.setattr(rows.Loading, "end", fails)
    with pytest.raises(CannotStart, match="nothing of it stays: a key points nowhere"):
        restored(kept, there)
    assert there.is_untouched()


def test_a_killed_restore_lets_nothing_start_and_is_started_anew(here: Place, kept: Path, there: Place) -> None:
    corral = [sys.executable, "-m", cli.__name__, "--data-dir", str(there.data_dir), "restore", str(kept)]
    clean = os.environ | {"DATABASE_URL": there.url}
    killed = subprocess.run(corral, env=clean | {"CORRAL_FAILPOINT": "restore.loaded"}, timeout=PATIENCE, check=False)
    assert killed.returncode == EXIT_STATUS
    with pytest.raises(CannotStart, match="stopped half-way: run `corral restore` again"):
        migrating.upgrade(there.url)
    again = subprocess.run(corral, env=clean, timeout=PATIENCE, check=True, capture_output=True, text=True)
    assert "What an unfinished restore had left was removed first." in again.stderr
    found = there.rows()
    assert {name for name in found if found[name] != here.rows()[name]} == {"audit_events"}  # which says so
    assert there.files() == here.files()
    assert there.audit() == []


def test_damage_is_said_when_the_backup_is_made(server_url: str, tmp_path: Path) -> None:
    hurt = place(server_url, "hurt", tmp_path)
    live_in(hurt)
    (hurt.data_dir / "checkpoints" / "policy-r1-aa" / "adapter_model.safetensors").write_bytes(b"rot")
    shutil.rmtree(hurt.data_dir / "snapshots")
    contents = back_up(hurt.url, hurt.data_dir, tmp_path / "corral.backup")
    assert len(contents.damaged) == 2
    assert "policy-r1-aa/adapter_model.safetensors" in contents.damaged[0]
    drop(server_url, hurt.name)


def test_a_person_who_is_erased_meanwhile_is_not_kept_by_half(
    here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, aside, one_table = here.files(), tmp_path / "aside", rows._out

    def says(state: str) -> None:
        with psycopg.connect(here.url) as connection:
            connection.execute("UPDATE snapshots SET state = %s", (state,))

    def meanwhile(connection: Any, writer: Any, table: str, names: list[str]) -> int:
        if table == "users":
            says("erased")
            (here.data_dir / "snapshots").rename(aside)
        return one_table(connection, writer, table, names)

    monkeypatch.setattr(rows, "_out", meanwhile)
    try:
        with pytest.raises(Conflict, match="run it again, so that it is without them"):
            back_up(here.url, here.data_dir, tmp_path / "corral.backup")
    finally:
        aside.rename(here.data_dir / "snapshots")
        says("ready")
    assert here.files() == before
    assert list(tmp_path.iterdir()) == []


def test_a_backup_appears_whole_or_not_at_all(here: Place, kept: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="exists: choose another name"):
        back_up(here.url, here.data_dir, kept)
    with pytest.raises(psycopg.Error):
        back_up(here.url.replace(here.name, "nowhere"), here.data_dir, tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_the_command_verifies_without_a_database(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    said = CliRunner().invoke(cli.app, ["backup", "--verify", str(kept)])
    assert said.exit_code == 0
    assert said.stderr.startswith("It is sound: ")
    (tmp_path / "torn").write_bytes(kept.read_bytes()[:-1])
    refused = CliRunner().invoke(cli.app, ["backup", "--verify", str(tmp_path / "torn")])
    assert isinstance(refused.exception, BadInput)


def test_the_command_does_not_restore_beside_a_running_corral(
    kept: Path, there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://127.0.0.1:8000"
    running = Running(pid=1, address=address, database_url=there.url, broker_url="", engine_url="", engine_api_key="")
    monkeypatch.setattr(Instance, "running", lambda _: running)
    refused = CliRunner().invoke(cli.app, ["restore", str(kept)])
    assert f"at {address}" in str(refused.exception)
    assert there.is_untouched()
