"""Check digits of payment cards, IBANs and national ids: what tells them from other long numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

CARD_LENGTHS = {
    **dict.fromkeys(("34", "37"), (15,)),
    **dict.fromkeys(("36", "38", "300", "301", "302", "303", "304", "305"), (14,)),
    **dict.fromkeys(("51", "52", "53", "54", "55", "6011", "65"), (16,)),
    **dict.fromkeys((str(number) for number in range(2221, 2721)), (16,)),
    **dict.fromkeys((str(number) for number in range(644, 650)), (16,)),
    **dict.fromkeys((str(number) for number in range(3528, 3590)), (16,)),
    "4": (13, 16, 19),
    "62": (16, 17, 18, 19),
}
"""How numbers of the large networks begin, and how many digits each has."""

_REGISTER = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 DK:18 "
    "DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 "
    "IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 "
    "MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 "
    "SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
)
IBAN_LENGTHS = {each[:2]: int(each[3:]) for each in _REGISTER.split()}
"""Characters of an IBAN, by country: SWIFT's register (ISO 13616)."""


def digits_of(text: str) -> str:
    """The digits of a text in any script, as ASCII; what separates them is dropped."""
    return "".join(str(int(each)) for each in text if each.isdecimal())


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812."""
    total = 0
    for place, each in enumerate(reversed(digits)):
        value = int(each) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(text: str) -> bool:
    """Whether a network gives out such numbers, and the check digit is right."""
    digits = digits_of(text)
    lengths = next((CARD_LENGTHS[digits[:size]] for size in (4, 3, 2, 1) if digits[:size] in CARD_LENGTHS), ())
    return len(digits) in lengths and len(set(digits)) > 1 and luhn(digits)


def is_iban(text: str) -> bool:
    """Whether the country has IBANs of that length, and the check digits are right."""
    plain = text.replace(" ", "").replace("\N{NO-BREAK SPACE}", "")
    if IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


def _is_day(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def _brazil(digits: str) -> bool:
    """CPF: two check digits modulo 11."""
    for size in (9, 10):
        total = sum(int(each) * weight for each, weight in zip(digits[:size], range(size + 1, 1, -1), strict=True))
        if int(digits[size]) != total * 10 % 11 % 10:
            return False
    return len(set(digits)) > 1


def _china(text: str) -> bool:
    """The 18 characters of GB 11643: a day, and a check character modulo 11."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    digits = digits_of(text[:17])
    check = "10X98765432"[sum(int(each) * weight for each, weight in zip(digits, weights, strict=True)) % 11]
    last = text[17].upper()
    return _is_day(digits[6:10], digits[10:12], digits[12:14]) and check == (digits_of(last) or last)


def _france(digits: str) -> bool:
    """NIR: a key modulo 97."""
    return digits[0] in "12" and int(digits[13:]) == 97 - int(digits[:13]) % 97


_DIHEDRAL = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_PERMUTED = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)


def _india(digits: str) -> bool:
    """Aadhaar: the check digit of Verhoeff."""
    found = 0
    for place, each in enumerate(reversed(digits)):
        found = int(_DIHEDRAL[found][int(_PERMUTED[place % 8][int(each)])])
    return digits[0] not in "01" and found == 0


def _korea(digits: str) -> bool:
    """RRN: a day, and who gave it; since 2020 it has no check digit."""
    century = {"1": "19", "2": "19", "3": "20", "4": "20", "5": "19", "6": "19", "7": "20", "8": "20"}.get(digits[6])
    return century is not None and _is_day(century + digits[:2], digits[2:4], digits[4:6])


def _spain(text: str) -> bool:
    """DNI and NIE: a letter modulo 23."""
    plain = text.replace("-", "").upper()
    number = digits_of(plain.translate(str.maketrans("XYZ", "012"))[:8])
    return plain[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def _united_kingdom(text: str) -> bool:
    """National insurance number: it has no check digit; some beginnings are never given out."""
    return text[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def _united_states(digits: str) -> bool:
    """Social security number: it has no check digit; some parts are never given out."""
    return digits[:3] not in {"000", "666"} and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


OF_DIGITS: dict[str, Callable[[str], bool]] = {
    "br": _brazil,
    "fr": _france,
    "in": _india,
    "kr": _korea,
    "us": _united_states,
}
AS_WRITTEN: dict[str, Callable[[str], bool]] = {"cn": _china, "es": _spain, "gb": _united_kingdom}


def is_identity(country: str, text: str) -> bool:
    """Whether a passage of the shape of this country's ids can be one."""
    return OF_DIGITS[country](digits_of(text)) if country in OF_DIGITS else AS_WRITTEN[country](text)
