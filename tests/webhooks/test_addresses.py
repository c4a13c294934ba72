"""Where webhooks lead, and where they do not."""

from __future__ import annotations

import pytest

from app.kernel.errors import BadInput
from app.webhooks.addresses import checked, may_connect


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "localhost", "",
    ],
)  # fmt: skip
def test_inside_is_not_reached_however_it_is_written(address: str) -> None:
    assert not may_connect(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_the_internet_is_reached(address: str) -> None:
    assert may_connect(address)


def test_an_address_is_kept_as_it_is_sent_to() -> None:
    assert checked(" https://example.org/corral?a=1#part ", ()) == "https://example.org/corral?a=1"
    assert checked("https://例え.jp/x", ()).startswith("https://")
    assert checked("http://chat.internal:8080/hook", ["chat.internal"]) == "http://chat.internal:8080/hook"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not an address"), ("example.org", "not an address"), ("file:///etc/passwd", "not an address"),
        ("ftp://example.org", "not an address"), ("https://", "not an address"), ("javascript:alert(1)", "not an address"),
        ("http://example.org/", "Use https"), ("https://me:secret@example.org/", "no name and password"),
        ("https://example.org/" + "a" * 500, "500 characters"), ("https://exa mple.org/", "not an address"),
        ("https://example.org:99999/", "not an address"), ("https://[::1/", "not an address"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_a_sentence(url: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked(url, ())
    assert said in caught.value.extra["errors"][0]["msg"]
