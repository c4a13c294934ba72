"""What can be made again may be broken: it is set aside, that is said, and the start goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from app.kernel.errors import CannotStart
from app.kernel.settings import Settings
from app.laptop import engine_command as engine
from app.services import cluster_notes
from app.services.aside import set_aside, unless
from app.services.embedded import SOCKET, Postgres
from app.services.instance import Instance, Running
from tests.generating import write_adapter
from tests.launcher.test_launch import RUNNING
from tests.patience import PATIENCE
from tests.places import temporary_place
from training.formats.templates import TOOL_USE


def nul_bytes(path: Path) -> None:
    path.write_bytes(bytes(300))


def noise(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00/" * 40)


def emptiness(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    (path / "what").mkdir(parents=True)


def a_link_to_nowhere(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.with_name("nowhere"))


DAMAGES = (nul_bytes, noise, emptiness, a_folder)
Damage = Callable[[Path], None]


# ── The database's notes ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def killed() -> Iterator[Path]:
    """A cluster whose server was killed: its notes are still there."""
    with temporary_place() as place:
        server = Postgres(place / "postgres")
        server.start()
        with psycopg.connect(server.ensure_database()) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 'kept' AS note")
        pid = server.pid()
        assert pid is not None
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=PATIENCE)
        yield server.folder
        server.stop()


def starts(folder: Path) -> list[str]:
    """The notes that are there once the server runs again."""
    server = Postgres(folder)
    server.start()
    try:
        with psycopg.connect(server.ensure_database()) as connection:
            return [row[0] for row in connection.execute("SELECT note FROM notes")]
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_notes_of_a_killed_database_that_are_broken_do_not_stop_the_next(
    killed: Path, damage: Damage, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = [killed / cluster_notes.NOTE, killed / f"{SOCKET}.lock"]
    for note in broken:
        damage(note)
    shutil.rmtree(killed / "pg_notify")
    a_folder(killed / "postmaster.opts")
    a_folder(killed / SOCKET)
    assert starts(killed) == ["kept"]
    said = capfd.readouterr().err
    assert all(
        f"{note} is damaged: it is created again, and the old one is now {note.name}.broken-" in said for note in broken
    )


@pytest.mark.slow
def test_whole_notes_stay(killed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert starts(killed) == ["kept"]
    assert "is broken" not in capfd.readouterr().err


# ── The folder's own notes ───────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    instance = Instance(tmp_path / "var")
    for folder in (instance.logs, instance.broker_dir):
        folder.mkdir(parents=True)
    return instance


@pytest.mark.parametrize("damage", [*DAMAGES, a_link_to_nowhere], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["corral.lock", "running.json", "running.tmp"])
def test_a_broken_note_of_a_start_does_not_stop_the_next(instance: Instance, name: str, damage: Damage) -> None:
    damage(instance.data_dir / name)
    assert instance.running() is None
    with instance.try_lock() as mine:
        assert mine
        instance.set_broken_aside()
        instance.announce(RUNNING)
    assert Running(**json.loads(instance.running_file.read_text())) == RUNNING


def test_folders_and_files_in_each_other_s_place_are_set_aside(instance: Instance) -> None:
    for folder in (instance.logs, instance.broker_dir):
        folder.rmdir()
        folder.write_text("no folder")
    a_folder(instance.data_dir / "beat")
    instance.set_broken_aside()
    left = sorted(path.name.split(".broken-")[0] for path in instance.data_dir.iterdir() if ".broken-" in path.name)
    assert left == ["beat", "broker", "logs"]
    instance.logs.mkdir()
    a_folder(instance.logs / "web.log")
    a_folder(instance.logs / "web.log.1")
    instance.set_broken_aside()
    assert not list(instance.logs.glob("*.log"))


def test_of_several_broken_ones_the_newest_is_kept(tmp_path: Path) -> None:
    thing = tmp_path / "thing"
    for content in ("first", "second"):
        thing.write_text(content)
        aside = set_aside(thing)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["second"]
    assert aside.name.startswith("thing.broken-")


def test_what_cannot_be_set_aside_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "beat").mkdir()
    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(CannotStart, match=r"beat is damaged and cannot be set aside \(Permission denied\): remove it"):
        unless(Path.is_file, tmp_path / "beat")


# ── The base model ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation whose base model has been converted."""
    settings = Settings(data_dir=tmp_path, base_model="")
    folder = Path(settings.base_model_path)
    write_adapter(folder)
    (folder / TOOL_USE).parent.mkdir()
    (folder / TOOL_USE).write_text("{{ tools }}")
    return settings


def truncated(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"wei")


def without_a_file(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def a_broken_manifest(folder: Path) -> None:
    nul_bytes(folder / "manifest.json")


def a_file_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def a_file_for_all_models(folder: Path) -> None:
    shutil.rmtree(folder.parent)
    folder.parent.write_text("no folder")


@pytest.mark.parametrize(
    "damage",
    [truncated, without_a_file, a_broken_manifest, a_file_in_its_place, a_file_for_all_models],
    ids=lambda damage: damage.__name__,
)
def test_a_broken_base_model_is_set_aside_and_converted_again(settings: Settings, damage: Damage) -> None:
    folder = Path(settings.base_model_path)
    assert not engine.base_model_is_due(settings)
    damage(folder)
    assert engine.base_model_is_due(settings)
    assert not folder.exists()
    assert engine.base_model_is_due(settings)


def test_a_base_model_of_an_earlier_release_gets_what_came_later_and_is_not_set_aside(settings: Settings) -> None:
    folder = Path(settings.base_model_path)
    (folder / TOOL_USE).unlink()
    assert engine.base_model_is_due(settings)
    assert folder.exists()


def test_a_model_of_the_operator_s_own_is_left_alone(settings: Settings) -> None:
    folder = Path(settings.base_model_path)
    truncated(folder)
    assert not engine.base_model_is_due(settings.model_copy(update={"base_model": str(folder)}))
    assert folder.exists()
