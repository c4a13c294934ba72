"""What pyproject.toml promises about every test."""

from __future__ import annotations

import socket
import warnings

import pytest


def test_a_warning_fails_the_test_that_causes_it() -> None:
    with pytest.raises(FutureWarning):
        warnings.warn("this will change", FutureWarning, stacklevel=1)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_test_connects_to_this_machine_only(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(UserWarning, match=r"tried to use socket.*127\.0\.0\.1"):
        client.connect((address, 80))


def test_a_test_may_connect_to_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
