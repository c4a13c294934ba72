"""Files that come packed: gzip, and ZIP. What they unpack to is bounded before it is there.

A ZIP archive holds one file, or a folder that ``datasets`` saved to disk (:mod:`app.prompts.saved_datasets`).

The bound is that of any upload. A size that an archive declares is believed where it is too large and checked where it is not:
a few bytes can say anything of themselves.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath

from app.kernel.errors import BadInput
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.prompts import saved_datasets

GZIP, ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
SUFFIXES = (".gz", ".zip")
MOST_ENTRIES = 1000
MOST_MEMBERS = 10_000
"""Of gzip: tools that pack in blocks make one of every 64 KiB."""
_ENTRY = b"PK\x01\x02"
_PIECE = 1 << 20
_FED = 1 << 16
_IGNORED = ("__MACOSX/", ".DS_Store")
_UNREADABLE = N_("The {kind} archive cannot be unpacked: it is damaged or was cut off. Pack the file again.")


def unpacked(filename: str, content: bytes, most: int) -> tuple[str, bytes]:
    """The name and the bytes of the file inside; of a file that is not packed, as they are.

    Raises:
        BadInput: it cannot be unpacked, or not to at most ``most`` bytes, or holds anything but one file.
    """
    path = PurePosixPath(filename)
    packed = path.suffix.lower()
    if packed == ".gz":
        if not content.startswith(GZIP):
            raise BadInput(_("This does not look like gzip, but its name ends in .gz: remove that ending."))
        return path.stem, _gunzipped(content, most)
    if packed == ".zip":
        if not content.startswith(ZIP):
            raise BadInput(_("This does not look like a ZIP archive, but its name ends in .zip: remove that ending."))
        return _unzipped(content, most)
    return filename, content


def _too_much(kind: str, most: int) -> BadInput:
    return BadInput(
        _(
            "The {kind} archive unpacks to more than {most} bytes: split the file before you pack it.",
            kind=kind,
            most=number(most),
        )
    )


def _gunzipped(content: bytes, most: int) -> bytes:
    found, members, member = bytearray(), 0, None
    try:
        for start in range(0, len(content), _FED):  # what is behind the end of a member is copied each time
            rest, more = content[start : start + _FED], False
            while rest or more:
                if member is None:  # several packed files, one behind the other, are one
                    rest = rest.lstrip(b"\0")  # tapes and disks fill up with zeros
                    if not rest:
                        break
                    member, members = zlib.decompressobj(zlib.MAX_WBITS | 16), members + 1
                    if members > MOST_MEMBERS:
                        raise BadInput(
                            _(
                                "The gzip archive has more than {most} parts: pack the file again.",
                                most=number(MOST_MEMBERS),
                            )
                        )
                piece = member.decompress(rest, _PIECE)
                found += piece
                if len(found) > most:
                    raise _too_much("gzip", most)
                rest, more = member.unconsumed_tail, len(piece) == _PIECE
                if member.eof:
                    rest, more, member = member.unused_data, False, None
    except zlib.error:
        raise BadInput(_(_UNREADABLE, kind="gzip")) from None
    if member is not None:
        raise BadInput(_(_UNREADABLE, kind="gzip"))
    return bytes(found)


def _unzipped(content: bytes, most: int) -> tuple[str, bytes]:
    if content.count(_ENTRY) > MOST_ENTRIES:  # the reader of the list would take hundreds of times its bytes
        raise BadInput(
            _(
                "The ZIP archive has more than {most} files: pack one file, or upload them one by one.",
                most=number(MOST_ENTRIES),
            )
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [each for each in archive.infolist() if not each.is_dir() and not _is_ignored(each.filename)]
            by_name = {each.filename: each for each in files}
            if saved_datasets.holds_one(by_name):
                return saved_datasets.joined(by_name, lambda name, left: _read(archive, by_name[name], left), most)
            inside = _only(files)
            found = _read(archive, inside, most)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError):
        raise BadInput(_(_UNREADABLE, kind="ZIP")) from None
    except (NotImplementedError, RuntimeError, MemoryError):
        raise BadInput(
            _("The ZIP archive is packed in a way that cannot be read here: pack it with deflate.")
        ) from None
    return PurePosixPath(inside.filename).name, found


def _read(archive: zipfile.ZipFile, inside: zipfile.ZipInfo, most: int) -> bytes:
    if inside.file_size > most:
        raise BadInput(
            _(
                "The ZIP archive unpacks to {size} bytes, {most} is the most: split the file before you pack it.",
                size=number(inside.file_size),
                most=number(most),
            )
        )
    if inside.flag_bits & 1:
        raise BadInput(_("The ZIP archive has a password: pack the file without one."))
    with archive.open(inside) as stream:
        found = stream.read(most + 1)
    if len(found) > most:
        raise _too_much("ZIP", most)
    return found


def _only(files: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    if any(each.filename == "[Content_Types].xml" for each in files):
        raise BadInput(_("This looks like an Excel workbook: save the sheet as CSV."))
    if len(files) != 1:
        shown = ", ".join(f'"{each.filename[:60]}"' for each in files[:4]) or _("none")
        raise BadInput(
            _(
                "The ZIP archive has {n} files ({shown}): pack one file, or upload them one by one.",
                n=number(len(files)),
                shown=shown,
            )
        )
    return files[0]


def _is_ignored(name: str) -> bool:
    return name.startswith(_IGNORED[0]) or PurePosixPath(name).name == _IGNORED[1]
