r"""Finds the passages of a text that look like private data: the same in every run, in time that grows with its length alone.

RE2 matches: it never goes back, so no text makes it slow, whoever wrote it. It has no look-around, so every pattern takes the
character before its passage along (``BEGINS``), and what follows is looked at here. What is matched is only a candidate: check
digits, the lists of :mod:`phonenumbers` and the rules below decide. Texts are looked at as UTF-8, and passages are counted in
characters; ``\p{Nd}`` is a digit of any script.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import re2

from app.preferences.private import numbers, phones
from app.preferences.private.kinds import RANK, Kind, Passage

Span = tuple[int, int]
"""In bytes."""
BEGINS = r"(?:\A|[^\p{Nd}A-Za-z_])"
DASH = r"[ \-\x{A0}\x{2010}\x{2011}\x{2013}]"
PATTERNS = {
    "pem": (
        r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[A-Za-z0-9+/=\s\\:,.()-]*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"|[\sn\\]*(?:[A-Za-z0-9+/=]{40,}[\sn\\]*)+))"
    ),
    "token": (
        BEGINS + r"((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"
        r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|gl(?:pat|dt|ft|soat|rt|cbt)-[\w-]{20,}"
        r"|sk-(?:proj-|svcacct-|admin-|None-|or-v1-|ant-[a-z]{3,5}\d\d-)?[\w-]{32,}"
        r"|AIza[\w-]{35}|GOCSPX-[\w-]{28}|ya29\.[\w-]{30,}"
        r"|xox[abeposr]-(?:\d+-)+[A-Za-z0-9]+|https://hooks\.slack\.com/services/T\w+/B\w+/\w+"
        r"|https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]{60,}"
        r"|[rs]k_live_[0-9A-Za-z]{24,}|whsec_[A-Za-z0-9+/=]{32,}|sq0(?:csp|atp)-[\w-]{22,}"
        r"|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}|hf_[A-Za-z0-9]{30,}|SG\.[\w-]{22}\.[\w-]{43}|\d{8,10}:AA[\w-]{33}"
        r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
    ),
    "named": (
        r"(?i)(?:aws.{0,20}(?:key|secret|token).{0,5}[^A-Za-z0-9/+]([A-Za-z0-9/+]{40})|AccountKey=([A-Za-z0-9+/]{86}==)"
        r"|authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:bearer|basic|token)\s+([\w.~+/-]{20,}=*))"
    ),
    "address": r"[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{1,64}:([^\s:/@\"'<>$(){}]{3,128})@[^\s/@]",
    "card": BEGINS
    + rf"(\p{{Nd}}{{13,19}}|\p{{Nd}}{{4}}{DASH}\p{{Nd}}{{4}}{DASH}\p{{Nd}}{{4}}{DASH}\p{{Nd}}{{4}}(?:{DASH}\p{{Nd}}{{3}})?"
    rf"|\p{{Nd}}{{4}}{DASH}\p{{Nd}}{{6}}{DASH}\p{{Nd}}{{4,5}})",
    "iban": BEGINS + r"([A-Z]{2}\d{2})[ \x{A0}]?[A-Z0-9]{4}",
    "br": BEGINS + r"(\p{Nd}{3}\.\p{Nd}{3}\.\p{Nd}{3}-\p{Nd}{2})",
    "cn": BEGINS + r"([1-9]\d{16}[\dXx])",
    "es": BEGINS + r"((?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z])",
    "fr": BEGINS + r"([12] \d{2} (?:0[1-9]|1[0-2]|[2-9]\d) \d{2} \d{3} \d{3} \d{2})",
    "gb": BEGINS + r"([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: \d{2} \d{2} \d{2} |\d{6})[A-D])",
    "in": BEGINS + r"(\p{Nd}{4}[ -]\p{Nd}{4}[ -]\p{Nd}{4})",
    "kr": BEGINS + r"(\p{Nd}{6}-[1-8]\p{Nd}{6})",
    "us": BEGINS + r"(\p{Nd}{3}-\p{Nd}{2}-\p{Nd}{4})",
    "email": r"([\p{L}\p{M}\p{N}._%+'-]+)@((?:[\p{L}\p{M}\p{N}-]+\.)+[\p{L}\p{M}-]+)",
    "v4": r"(?:\A|[^\p{Nd}A-Za-z_.])((?:\d{1,3}\.){3}\d{1,3})",
    "v6": r"(?:\A|[^\p{Nd}A-Za-z_:.])([23][0-9A-Fa-f]{0,3}(?::[0-9A-Fa-f]{0,4}){2,7})",
    "phone": rf"(?:\A|[^\p{{Nd}}A-Za-z_])([+＋]?[(（]?\p{{Nd}}{{1,4}}(?:[ ()./（）]{{0,2}}{DASH}?[ ()]?\p{{Nd}}){{5,16}})",
}
COMPILED = {name: re2.compile(pattern) for name, pattern in PATTERNS.items()}
COUNTRIES = (*numbers.OF_DIGITS, *numbers.AS_WRITTEN)
IN_GROUPS = frozenset({"fr", "in"})
"""Countries whose ids look like a part of a longer number in groups."""
WORD_BYTES = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_ENDINGS = (
    "css csv dtype gif html jpeg jpg js json jsx max mean min pdf png shape sum svg toml ts tsx txt webp xml yaml yml"
)
NO_ENDING = frozenset(_ENDINGS.split())
"""What stands at the end of no address, and of much code: names of files and of attributes."""
ANY_SCRIPT = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff\u0e00-\u0eff]")
"""Scripts that put no space between words: an address begins in the middle of what looks like one."""
VERSION = re.compile(
    rb"(?:v|ver|version|release|rev|build|chapter|section|\xc2\xa7|\xe7\x89\x88\xe6\x9c\xac?)[\s.:#=\"'-]{0,3}\Z",
    re.IGNORECASE,
)
ADDRESS = re.compile(rb"\bip(?:v4)?\b[^\n]{0,12}\Z", re.IGNORECASE)
FEW_DIGITS = 8
"""Four numbers with fewer digits in all are taken for a version, unless the text calls them an address."""


@dataclass(frozen=True, slots=True)
class _Text:
    data: bytes
    language: str | None

    def group(self, found: re2._Match[bytes]) -> tuple[Span, str]:
        start, end = found.span(1)
        return (start, end), self.data[start:end].decode(errors="replace")

    def goes_on(self, end: int, more: bytes = b"") -> bool:
        """Whether the character that follows belongs to the same word."""
        following = self.data[end : end + 1]
        return bool(following) and (following[0] in WORD_BYTES or following in more.split())


def passages(text: str, language: str | None = None) -> list[Passage]:
    """Everything in ``text`` that looks private, from the beginning on; no two overlap.

    Args:
        text: Any text, as large as it comes.
        language: Of the prompt, a code of ISO 639-1: how phone numbers without a country code are written.
    """
    looked_at = _Text(text.encode("utf-8", "replace"), language)
    found = sorted((start, end, kind) for finder in FINDERS for (start, end), kind in finder(looked_at))
    return list(_in_characters(looked_at.data, _merged(found)))


def _merged(found: Iterable[tuple[int, int, Kind]]) -> Iterator[tuple[int, int, Kind]]:
    """What overlaps becomes one, so that nothing of either stays."""
    last: tuple[int, int, Kind] | None = None
    for start, end, kind in found:
        if last is not None and start < last[1]:
            last = (last[0], max(last[1], end), min(last[2], kind, key=RANK.__getitem__))
            continue
        if last is not None:
            yield last
        last = (start, end, kind)
    if last is not None:
        yield last


def _in_characters(data: bytes, found: Iterable[tuple[int, int, Kind]]) -> Iterator[Passage]:
    read = characters = 0
    for start, end, kind in found:
        begins = characters + len(data[read:start].decode())
        characters = begins + len(data[start:end].decode())
        read = end
        yield Passage(begins, characters, kind)


def _secrets(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for found in COMPILED["pem"].finditer(text.data):
        yield found.span(1), Kind.SECRET
    for found in COMPILED["token"].finditer(text.data):
        span, said = text.group(found)
        if any(each.isdigit() for each in said) and any(each.isalpha() for each in said[3:]) and not _is_slug(said):
            yield span, Kind.SECRET
    for name in ("named", "address"):
        for found in COMPILED[name].finditer(text.data):
            yield found.span(found.lastindex), Kind.SECRET


def _is_slug(said: str) -> bool:
    """Words joined by dashes: a class of a style sheet, a branch."""
    return said.startswith("sk-") and said.count("-") > 3 and said == said.lower()


def _cards(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for found in COMPILED["card"].finditer(text.data):
        span, said = text.group(found)
        decimal = text.data[max(0, span[0] - 2) : span[0]]
        if numbers.is_card(said) and not text.goes_on(span[1]) and not re.fullmatch(rb"\d[.,]", decimal):
            yield span, Kind.CARD


def _ibans(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for found in COMPILED["iban"].finditer(text.data):
        start, _ = found.span(1)
        head = text.data[start : start + 64].decode(errors="ignore")
        length = numbers.IBAN_LENGTHS.get(head[:2])
        written = length and re.match(rf"(?:[A-Z0-9][ \u00a0]?){{{length - 1}}}[A-Z0-9](?![A-Za-z0-9])", head)
        if written and numbers.is_iban(written[0]):
            yield (start, start + len(written[0].encode())), Kind.IBAN


def _identities(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for country in COUNTRIES:
        for found in COMPILED[country].finditer(text.data):
            span, said = text.group(found)
            before, after = text.data[max(0, span[0] - 2) : span[0]], text.data[span[1] : span[1] + 2]
            between = rb"[ .-]" if country in IN_GROUPS else rb"[.-]"
            part_of_more = re.fullmatch(rb"\d" + between, before) or re.fullmatch(between + rb"\d", after)
            if not part_of_more and not text.goes_on(span[1], b"-") and numbers.is_identity(country, said):
                yield span, Kind.ID


def _emails(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for found in COMPILED["email"].finditer(text.data):
        local, domain = (text.data[slice(*found.span(place))].decode(errors="replace") for place in (1, 2))
        start, end = found.span(1)[0], found.span(2)[1]
        name, host = _of_one_word(local, from_end=True).lstrip(".'-+%"), _without_tail(domain)
        start += len(local[: len(local) - len(name)].encode())
        end -= len(domain[len(host) :].encode())
        if name and _is_address(name, host, text.data[end : end + 1]):
            yield (start, end), Kind.EMAIL


def _of_one_word(text: str, *, from_end: bool) -> str:
    """Of a name that ends in letters of scripts with spaces, only these: before them stands a sentence."""
    others = list(ANY_SCRIPT.finditer(text))
    if not others or others[-1].end() == len(text):
        return text
    return text[others[-1].end() :] if from_end else text


def _without_tail(domain: str) -> str:
    """The domain without what follows in a script that puts no space between words."""
    labels, _, ending = domain.rpartition(".")
    first = ANY_SCRIPT.search(ending)
    if first is not None and first.start() >= 2:
        ending = ending[: first.start()]
    return f"{labels}.{ending.rstrip('-')}"


def _is_address(name: str, host: str, following: bytes) -> bool:
    *labels, ending = host.split(".")
    return (
        len(ending) >= 2
        and ending.lower() not in NO_ENDING
        and name.lower() != "git"  # of a repository
        and (len(labels[-1]) > 1 or host in {"x.com", "t.me"})
        and following not in {b"(", b"[", b"_"}
        and not any(label.startswith("-") or label.endswith("-") for label in labels)
    )


def _ips(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for name in ("v4", "v6"):
        for found in COMPILED[name].finditer(text.data):
            span, said = text.group(found)
            more = b". -" if name == "v4" else b". :"
            if text.goes_on(span[1], more) and not re.match(rb"[.:-](?![\w.:-])", text.data[span[1] : span[1] + 2]):
                continue
            said = said if name == "v4" else said.rstrip(":") if not said.endswith("::") else said
            if _is_public(said) and (name == "v6" or _is_no_version(said, text.data[max(0, span[0] - 20) : span[0]])):
                yield (span[0], span[0] + len(said)), Kind.IP


def _is_public(said: str) -> bool:
    """Of a machine that the whole internet reaches. Others identify nobody, and stand in every other piece of code."""
    try:
        found = ipaddress.ip_address(said)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast


def _is_no_version(said: str, before: bytes) -> bool:
    if ADDRESS.search(before):
        return True
    return sum(1 for each in said if each.isdigit()) >= FEW_DIGITS and not VERSION.search(before)


def _phones(text: _Text) -> Iterator[tuple[Span, Kind]]:
    for found in COMPILED["phone"].finditer(text.data):
        span, _ = text.group(found)
        at = max(0, span[0] - 1)
        whole = re.compile(rb"\d{0,32}").match(text.data, span[1])  # or half of a number would be one
        piece = text.data[at : (whole.end() if whole else span[1]) + 1].decode(errors="ignore")
        shift = span[0] - len(text.data[at : span[0]].decode(errors="ignore").encode())
        before = text.data[max(0, at - 4 * phones.BEFORE) : span[0]].decode(errors="ignore")
        for start, end in phones.phones(piece, before, text.language):
            yield (shift + len(piece[:start].encode()), shift + len(piece[:end].encode())), Kind.PHONE


FINDERS: tuple[Callable[[_Text], Iterator[tuple[Span, Kind]]], ...] = (
    _secrets,
    _cards,
    _ibans,
    _identities,
    _emails,
    _ips,
    _phones,
)
