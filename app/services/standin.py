"""PostgreSQL when Corral runs as root: it refuses to be root, so it runs as a system user that sees its own folder only.

That folder may lie where the user cannot go (a home is 0700, and so is the data folder), and nothing is opened for it: the
server is started inside its folder and knows it as :data:`INSIDE`, a name that the kernel follows without asking who may
pass the folders above. Its programs, which may lie in such a place too, are then copied to where everybody can read them
(docs/decisions/0030).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.kernel.errors import CannotStart

USER = "pgserver"
"""The wheel itself would have it under this name."""
INSIDE = "/proc/self/cwd"
"""What a process that was started in a folder may call it, wherever it lies."""
COPIES = Path("/var/lib/corral-postgresql")
"""Where the programs are copied that the user cannot reach."""
NEEDED = ("bin/postgres", "bin/initdb", "lib", "share")


def needed() -> bool:
    """Whether PostgreSQL needs one."""
    return os.geteuid() == 0


def user() -> pwd.struct_passwd:
    """The system user, made on first use.

    Raises:
        CannotStart: it cannot be made.
    """
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    try:
        subprocess.run(["useradd", "--system", USER], check=True, capture_output=True)  # noqa: S607 - root's own PATH
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotStart(
            f"PostgreSQL does not run as root, and the user {USER} cannot be created ({error}): "
            "run Corral as another user, or point DATABASE_URL at a server."
        ) from error
    return pwd.getpwnam(USER)


def options(folder: Path | str) -> dict[str, Any]:
    """What ``subprocess`` needs to run something as the user, inside ``folder``."""
    owner = user()
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": folder}


@lru_cache
def within_reach(install: Path) -> Path:
    """``install``, a PostgreSQL with its ``bin``, or a copy of it where the user cannot run that.

    Raises:
        CannotStart: there is no place for a copy.
    """
    if _runs(install):
        return install
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    parts = [(install / name, Path(install.parent.name, install.name, name)) for name in NEEDED]
    parts += [(libraries, Path(libraries.name))] if libraries.is_dir() else []
    copy = COPIES / _digest(parts)
    try:
        if not copy.is_dir() or _digest([(copy / at, at) for _, at in parts]) != copy.name:
            _copy(parts, copy)
    except OSError as error:
        raise CannotStart(
            f"PostgreSQL does not run as root, the user {USER} cannot reach {install}, and it cannot be copied to "
            f"{COPIES} ({error.strerror}): install Corral where every user may read, or run it as another user."
        ) from error
    return copy / install.parent.name / install.name


def _runs(install: Path) -> bool:
    try:
        words = [str(install / "bin" / "initdb"), "--version"]
        return subprocess.run(words, capture_output=True, check=False, **options("/")).returncode == 0
    except OSError:
        return False


def _files(part: Path) -> Iterator[Path]:
    return (path for path in sorted(part.rglob("*")) if path.is_file()) if part.is_dir() else iter([part])


def _digest(parts: list[tuple[Path, Path]]) -> str:
    """A name for what the parts (what there is, and where it stands in the copy) are made of, without reading it all."""
    found = hashlib.sha256()
    for part, at in parts:
        for file in _files(part):
            seen = file.stat() if file.exists() else None
            told = (str(at / file.relative_to(part)), seen and seen.st_size, seen and seen.st_mtime_ns)
            found.update(repr(told).encode())
    return found.hexdigest()[:16]


def _copy(parts: list[tuple[Path, Path]], copy: Path) -> None:
    """Make ``copy`` anew, whole or not at all, for everybody to read and for root alone to change."""
    COPIES.mkdir(parents=True, exist_ok=True)
    COPIES.chmod(0o755)
    draft = Path(tempfile.mkdtemp(dir=COPIES, prefix=".draft-"))
    try:
        for part, at in parts:
            for file in _files(part):
                target = draft / at / file.relative_to(part)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
                target.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
        for folder in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        shutil.rmtree(copy, ignore_errors=True)  # a damaged one
        draft.rename(copy)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
