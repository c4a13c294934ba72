"""From an uploaded file to its records: what it really is, its encoding, and one value a line, item or row.

A file is taken for what its name says and refused when its first bytes say otherwise. What is wrong with the file as a
whole is a :class:`~app.kernel.errors.BadInput`; what is wrong with one record is a :class:`~app.prompts.bounded_json.Refused`
in the record's place, so that the rest can still be read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import PurePath

from app.kernel.errors import BadInput
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.prompts.archives import unpacked
from app.prompts.importers import Importer, Limits, Row, endings, head_of, importer_of, importers

# First bytes that say what a file is, whatever its name; the remedy completes "This looks like …".
SIGNATURES = (
    (b"\x1f\x8b", N_("a gzip archive"), N_("end its name in .gz, or unpack it")),
    (b"PK\x03\x04", N_("a ZIP archive or an Excel workbook"), N_("end its name in .zip, or save the sheet as CSV")),
    (b"PK\x05\x06", N_("an empty ZIP archive"), N_("upload the file itself")),
    (b"BZh", N_("a bzip2 archive"), N_("unpack it and upload the file inside")),
    (b"\xfd7zXZ\0", N_("an xz archive"), N_("unpack it and upload the file inside")),
    (b"\x28\xb5\x2f\xfd", N_("a zstd archive"), N_("unpack it and upload the file inside")),
    (b"7z\xbc\xaf\x27\x1c", N_("a 7-Zip archive"), N_("unpack it and upload the file inside")),
    (b"\xd0\xcf\x11\xe0", N_("an old Excel or Word document"), N_("save it as CSV")),
    (b"SQLite format 3\0", N_("an SQLite database"), N_("export the table as CSV")),
    (b"%PDF", N_("a PDF"), N_("copy its text into a JSON Lines file")),
    (b"\x89PNG", N_("a picture"), N_("upload a file of prompts")),
    (b"\xff\xd8\xff", N_("a picture"), N_("upload a file of prompts")),
    (b"GIF8", N_("a picture"), N_("upload a file of prompts")),
    (b"\x7fELF", N_("a program"), N_("upload a file of prompts")),
)


def open_file(filename: str, content: bytes, limits: Limits) -> tuple[Importer, Iterator[Row]]:
    """The format of ``content`` and its records; :class:`BadInput` when it is not what its name says."""
    filename, content = unpacked(filename, content, limits.file_bytes)
    suffix = PurePath(filename).suffix.lower()
    named = importer_of(suffix)
    if named is None:
        raise BadInput(_("The name must end in {endings}, so that it is clear what the file is.", endings=endings()))
    if not content.strip():
        raise BadInput(_("The file is empty: there are no prompts in it."))
    _check_signature(content, named)
    if named.is_text:
        content = to_utf8(content)
        _check_markup(content, named)
    wrong = named.why_not(content, suffix)
    if wrong is not None:
        raise BadInput(wrong)
    return named, named.rows(content, limits)


def _check_signature(content: bytes, named: Importer) -> None:
    for other in importers().values():
        if other is not named and other.signature is not None and content.startswith(other.signature):
            raise BadInput(
                _(
                    "This looks like {kind}, but its name says {name}: rename it to end in {ending}.",
                    kind=other.name,
                    name=named.name,
                    ending=other.suffixes[0],
                )
            )
    for signature, kind, remedy in SIGNATURES:
        if content.startswith(signature):
            raise BadInput(
                _(
                    "This looks like {kind}, but its name says {name}: {remedy}.",
                    kind=_(kind),
                    name=named.name,
                    remedy=_(remedy),
                )
            )


def _check_markup(text: bytes, named: Importer) -> None:
    if re.match(rb"<(!doctype|html|\?xml)", head_of(text), re.IGNORECASE):
        raise BadInput(
            _("This looks like a web page or XML, but its name says {name}: download the data itself.", name=named.name)
        )


def to_utf8(content: bytes) -> bytes:
    """The text as UTF-8 without a byte order mark.

    Lone surrogates pass, so that only the lines that hold them are refused. Anything that is neither UTF-8 nor UTF-16
    with its mark is refused: guessing an encoding would store wrong letters without a word.
    """
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise BadInput(_("This looks like UTF-32: save the file as UTF-8."))
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise BadInput(
                _("The UTF-16 text is broken at byte {start}: save the file as UTF-8.", start=number(error.start))
            ) from None
    text = content.removeprefix(codecs.BOM_UTF8)
    bom = len(content) - len(text)
    head = text[:1024]
    if head.count(0) > len(head) // 4:
        raise BadInput(_("This looks like UTF-16 without its byte order mark, or binary data: save the file as UTF-8."))
    # In pieces, since one astral character would make the whole decoded text four times as large.
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for start in range(0, len(text), 1 << 20):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(text[start : start + (1 << 20)], final=start + (1 << 20) >= len(text))
        except UnicodeDecodeError as error:
            offset = start - held + error.start
            line = text.count(b"\n", 0, offset) + 1
            raise BadInput(
                _(
                    "The text is not UTF-8: byte 0x{byte} at offset {offset} (line {line}). Save the file as "
                    "UTF-8 (in a spreadsheet: “CSV UTF-8”).",
                    byte=format(text[offset], "02x"),
                    offset=number(offset + bom),
                    line=number(line),
                )
            ) from None
    return text
