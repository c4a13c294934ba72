"""What looks private is found in any script, what only looks like it is not, and no text takes long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.preferences.private.kinds import MISSES, Kind, Passage, found_by
from app.preferences.private.passages import passages

SECRET, CARD, IBAN, ID, EMAIL, IP, PHONE = Kind
FOUND: list[tuple[str, str | None, list[tuple[str, Kind]]]] = [
    ("Write to jane.doe+news@mail.example.co.uk.", "en", [("jane.doe+news@mail.example.co.uk", EMAIL)]),
    (
        "<mailto:o'neill@example.ie>, JANE@EXAMPLE.COM!",
        "en",
        [("o'neill@example.ie", EMAIL), ("JANE@EXAMPLE.COM", EMAIL)],
    ),
    ("Schreib an jürgen@münchen.de, bitte.", "de", [("jürgen@münchen.de", EMAIL)]),
    ("请发邮件到zhang.san@qq.com联系我。", "zh", [("zhang.san@qq.com", EMAIL)]),
    ("王五@例子.中国", "zh", [("王五@例子.中国", EMAIL)]),
    ("メールはtaro@example.jpまで", "ja", [("taro@example.jp", EMAIL)]),
    (
        "البريد: ahmed@example.sa أو اتصل على +٩٦٦٥٠١٢٣٤٥٦٧",
        "ar",
        [("ahmed@example.sa", EMAIL), ("+٩٦٦٥٠١٢٣٤٥٦٧", PHONE)],
    ),
    ("Почта: ivan@пример.рф, тел. +7 495 123-45-67", "ru", [("ivan@пример.рф", EMAIL), ("+7 495 123-45-67", PHONE)]),
    ("जेन@example.in", "hi", [("जेन@example.in", EMAIL)]),
    ("Call (415) 555-2671 or +44 20 7946 0958.", "en", [("(415) 555-2671", PHONE), ("+44 20 7946 0958", PHONE)]),
    ("my phone is 4155552671", "en", [("4155552671", PHONE)]),
    ("Ruf 030 901820 an oder +49 (0)30 901820", "de", [("030 901820", PHONE), ("+49 (0)30 901820", PHONE)]),
    ("电话13812345678。", "zh", [("13812345678", PHONE)]),
    ("เบอร์โทร +66 2 123 4567", "th", [("+66 2 123 4567", PHONE)]),
    (
        "4111 1111 1111 1111; 378282246310005; 5500-0000-0000-0004",
        None,
        [("4111 1111 1111 1111", CARD), ("378282246310005", CARD), ("5500-0000-0000-0004", CARD)],
    ),
    ("卡号６２２２０２００００００００００００4", "zh", []),  # its check digit is wrong
    ("بطاقة ٤١١١١١١١١١١١١١١١", "ar", [("٤١١١١١١١١١١١١١١١", CARD)]),
    ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "de", [("DE89 3704 0044 0532 0130 00", IBAN)]),
    (
        "GB82WEST12345698765432,FR1420041010050500013M02606",
        "en",
        [("GB82WEST12345698765432", IBAN), ("FR1420041010050500013M02606", IBAN)],
    ),
    ("seen from 81.2.69.142:8080 and 2a02:6b8::feed:ff", "en", [("81.2.69.142", IP), ("2a02:6b8::feed:ff", IP)]),
    ("the IP address is 8.8.8.8.", "en", [("8.8.8.8", IP)]),
    ("SSN 219-09-9999", "en", [("219-09-9999", ID)]),
    ("身份证号11010519491231002X", "zh", [("11010519491231002X", ID)]),
    ("NINO AB 12 34 56 C", "en", [("AB 12 34 56 C", ID)]),
    ("CPF 529.982.247-25", "pt", [("529.982.247-25", ID)]),
    ("주민등록번호 860712-1234567", "ko", [("860712-1234567", ID)]),
    ("Aadhaar 2341 2341 2346", "hi", [("2341 2341 2346", ID)]),
    ("DNI 12345678Z, NIE X1234567L", "es", [("12345678Z", ID), ("X1234567L", ID)]),
    ("NIR 2 55 08 14 168 025 38", "fr", [("2 55 08 14 168 025 38", ID)]),
    ("key=AKIAIOSFODNN7EXAMPLE", None, [("AKIAIOSFODNN7EXAMPLE", SECRET)]),
    ("sk-ant-api03-" + "aB3" * 12, None, [("sk-ant-api03-" + "aB3" * 12, SECRET)]),
    ('token: "ghp_16C7e42F292c6912E7710c838347Ae178B4a"', None, [("ghp_16C7e42F292c6912E7710c838347Ae178B4a", SECRET)]),
    ("postgres://bob:hunter22@db.example.com/x", None, [("hunter22@db.example.com", SECRET)]),
    ("Authorization: Bearer abcDEF0123456789abcdef", None, [("abcDEF0123456789abcdef", SECRET)]),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN",
        None,
        [("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", SECRET)],
    ),
    (
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        None,
        [("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", SECRET)],
    ),
    (
        "x -----BEGIN RSA PRIVATE KEY-----\n" + "Ab1+" * 16 + "\n" + "Cd2/" * 16,
        None,
        [("-----BEGIN RSA PRIVATE KEY-----\n" + "Ab1+" * 16 + "\n" + "Cd2/" * 16, SECRET)],
    ),
]
NOT_FOUND = [
    "pip install corral==1.2.3.4; version 10.20.300.40; v81.2.69.142; 4.18.0.240",
    "127.0.0.1, 0.0.0.0, 192.168.178.21, 10.31.200.144, 172.16.254.100, 255.255.255.0, ::1, fe80::1, 2001:db8::8a2e:370:7334",
    "OID 1.3.6.1.4.1.311.21.20, 300.168.100.100, 12:34:56, a::b, std::vector<int>, 2024:01:02",
    "2147483647 9223372036854775807 1700000000 1700000000000 1234567890123456 0x7fffffffffffffff",
    "3.14159265358979323846, 2.71828182845904523536, 0.30000000000000004",
    "2024-01-02 12:30:45.123456, 31.12.2024, 12/31/2024, 1999-2024, 2020 2021 2022 2023 2024",
    "ISBN 978-3-16-148410-0, ISSN 2049-3630, DOI 10.1000/182, RFC 2606, 550e8400-e29b-41d4-a716-446655440000",
    "deadbeef0123456789abcdef0123456789abcdef sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "y = x@w.T; z = a @ b; out = inputs@weights.shape; q = self.w@self.x.mean(0)",
    "@app.route, lodash@4.17.21, react@next.js, logo@2x.png, git@github.com:org/repo.git, foo@bar, user@, @user.name",
    "sk-loading-spinner-with-a-very-long-class-name, ghp_short, AKIA, eyJ.eyJ.x, Bearer token",
    "-----BEGIN PRIVATE KEY----- is the first line of such a file.",
    "https://example.com:8080/a@b, {user}:{password}@host, scheme://user:${PASSWORD}@host/db",
    "000-12-3456 666-12-3456 900-12-3456 12-345-6789",
    "4111 1111 1111 1112; 0000 0000 0000 0000; 4111111111111111111111; 3.4111111111111111",
    "DE89 3704 0044 0532 0130 01; GB82 TEST 1234; XX12 3456 7890 1234 5678",
    "1 234 567 890 and 12,345,678,901 and 1.000.000.000",
    "|  1 | 1024 | 2048 | 4096 |\n|  2 | 100 200 300 400 |",
    "二〇二四年十二月三十一日, ١٢٣٤٥٦٧٨٩٠, १२३४५६७८९०, 第12345678号",
    "e\u0301te\u0301 @ cafe\u0301, 👩‍👩‍👧@👨‍👩‍👧, \u202eabc\u202c, \x00\x01",
]


@pytest.mark.parametrize(("text", "language", "expected"), FOUND)
def test_what_looks_private_is_found(text: str, language: str | None, expected: list[tuple[str, Kind]]) -> None:
    assert [(text[each.start : each.end], each.kind) for each in passages(text, language)] == expected


@pytest.mark.parametrize("language", [None, "en", "de", "zh", "ar"])
@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_it_is_not(text: str, language: str | None) -> None:
    assert [(text[each.start : each.end], each.kind) for each in passages(text, language)] == []


@settings(max_examples=40)
@given(st.text(), st.sampled_from([None, "en", "de", "zh", "ar"]))
def test_no_text_breaks_it_and_passages_never_overlap(text: str, language: str | None) -> None:
    found = passages(text, language)
    assert found == passages(text, language)
    places = [place for each in found for place in (each.start, each.end)]
    assert places == sorted(places)
    assert all(0 <= each.start < each.end <= len(text) for each in found)


@settings(max_examples=20)
@given(st.text(alphabet="日本é👩‍🔬a\u0301 \n", max_size=30), st.text(alphabet="语ñ🎉\u0308. \n", max_size=30))
def test_places_count_characters_whatever_stands_around(before: str, after: str) -> None:
    text = f"{before} bob@example.com, {after}"
    assert Passage(len(before) + 1, len(before) + 16, EMAIL) in passages(text)


def test_what_overlaps_is_one_passage_and_nothing_of_it_stays() -> None:
    (found,) = passages("amqp://bob:s3cret@mq.example.com")
    assert found == Passage(11, 32, SECRET)


@pytest.mark.parametrize(
    "piece", ["a", "a@", "a.", "eyJ", "-----BEGIN PRIVATE KEY-----", "aws key ", "x://a:b", "2a:", "日", "+"]
)
def test_ten_megabytes_of_any_trap_pass(piece: str) -> None:
    """In time that grows with the length: an engine that goes back would be at it for hours, and run into the test's limit."""
    assert passages(piece * (10_000_000 // len(piece)), "en") == []


@pytest.mark.parametrize("piece", ["@a.b", "4111 ", "1.2.", "DE89 "])
def test_a_megabyte_of_candidates_passes(piece: str) -> None:
    assert passages(piece * (1_000_000 // len(piece)), "en") == []


def test_what_is_missed_is_said() -> None:
    for word in ("names", "addresses", "other countries", "images", "passwords"):
        assert word in MISSES
    assert "phonenumberslite 9." in found_by()
