"""Files that PostgreSQL keeps beside its data and recreates at each start. A broken one would prevent every start."""

from __future__ import annotations

import os
from pathlib import Path

from app.services.aside import unless

NOTE = "postmaster.pid"
EMPTY = (
    *("pg_commit_ts", "pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp"),
    *("pg_subtrans", "pg_tblspc", "pg_twophase", "pg_logical", "pg_logical/mappings", "pg_logical/snapshots"),
)
"""Folders that hold nothing between two runs of a server that nobody replicates; copies of a data folder lose them."""


def set_broken_aside(folder: Path, socket: Path) -> None:
    """Set aside what is broken, and make folders that are gone. Only for a cluster over which no server runs.

    Raises:
        CannotStart: something broken cannot be renamed.
    """
    owner = folder.stat()
    unless(_is_note, folder / NOTE, socket.with_name(f"{socket.name}.lock"))
    unless(Path.is_file, folder / "log")
    unless(lambda path: not path.is_dir(), socket)
    unless(lambda path: path.is_file() and path.stat().st_uid == owner.st_uid, folder / "postmaster.opts")
    for place in (folder / name for name in EMPTY):
        unless(Path.is_dir, place)
        if not place.exists():
            place.mkdir(mode=0o700)
            os.chown(place, owner.st_uid, owner.st_gid)


def _is_note(path: Path) -> bool:
    """Whether it begins with a process number (minus one's own, where a server is single)."""
    try:
        return int(path.read_bytes().split(b"\n")[0]) != 0
    except (OSError, ValueError):
        return False
