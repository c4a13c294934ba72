"""A folder that ``datasets`` saved to disk: ``state.json`` names its files of Arrow, one stream behind the other.

Joined, they are one file of Arrow (:mod:`app.prompts.tables`). Of a ``DatasetDict`` each split is such a folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.locales import number

STATE = "state.json"
STATE_BYTES = 1024 * 1024
MOST_FILES = 1000

Read = Callable[[str, int], bytes]
"""The file of a name, of at most so many bytes; :class:`BadInput` where it has more."""


def holds_one(names: Collection[str]) -> bool:
    """Whether files of these names are such a folder, or hold some."""
    return bool(_folders(names))


def of_folder(folder: Path, most: int) -> tuple[str, bytes]:
    """The same of a folder on this machine.

    Raises:
        BadInput: it is no such folder, lacks a file, or has more than ``most`` bytes.
        OSError: a file cannot be read.
    """
    names = [
        each.relative_to(folder).as_posix()
        for pattern in (STATE, f"*/{STATE}", "*.arrow", "*/*.arrow")
        for each in folder.glob(pattern)
        if each.is_file()
    ]

    def read(name: str, left: int) -> bytes:
        with (folder / name).open("rb") as file:
            found = file.read(left + 1)
        if len(found) > left:
            raise _too_large(most)
        return found

    if not holds_one(names):
        raise BadInput(
            _(
                "{name} is a folder that datasets did not save: name a file, or a folder with state.json.",
                name=folder.name,
            )
        )
    name, content = joined(names, read, most)
    return f"{folder.resolve().name}.arrow" if name == "data.arrow" else name, content


def joined(names: Collection[str], read: Read, most: int) -> tuple[str, bytes]:
    """A name and the bytes of its rows, as streams of Arrow one behind the other.

    Raises:
        BadInput: it holds several splits, is no folder that can be read, or has more than ``most`` bytes.
    """
    folders = _folders(names)
    if len(folders) > 1:
        splits = ", ".join(f'"{PurePosixPath(each).name[:60]}"' for each in folders[:8])
        raise BadInput(_("The dataset has several splits ({splits}): send the folder of one.", splits=splits))
    [folder] = folders
    found = bytearray()
    for name in _files(read(_below(folder, STATE), STATE_BYTES)):
        path = _below(folder, name)
        if path not in names:
            raise BadInput(_('The dataset lacks its file "{name}": save it again.', name=name[:60]))
        found += read(path, most - len(found))
    return f"{PurePosixPath(folder).name or 'data'}.arrow", bytes(found)


def _folders(names: Collection[str]) -> list[str]:
    """Those with a state and files of Arrow, in the order of their names."""
    stated = {_folder(name) for name in names if PurePosixPath(name).name == STATE}
    return sorted(stated & {_folder(name) for name in names if name.endswith(".arrow")})


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _files(state: bytes) -> list[str]:
    damaged = BadInput(_("The state.json of the dataset cannot be read: save it again."))
    try:
        said = json.loads(state)
        files = [each["filename"] for each in said["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if not files or not all(isinstance(each, str) and PurePosixPath(each).name == each for each in files):
        raise damaged
    if len(files) > MOST_FILES or len(set(files)) < len(files):
        raise damaged
    if said.get("_indices_data_files") or said.get("_indices_files"):
        raise BadInput(_("The dataset is a selection of its rows: call flatten_indices() before you save it."))
    return files


def _too_large(most: int) -> BadInput:
    return BadInput(_("The dataset has more than {most} bytes: save fewer rows.", most=number(most)))
