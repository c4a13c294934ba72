"""A file of a data set on the hub, of which a server of this machine plays the part."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import huggingface_hub
import pytest

from app.kernel.errors import BadInput, Unavailable
from app.prompts import hub

CONTENT = b'{"prompt": "Why?", "chosen": "a", "rejected": "b"}\n'
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"org/one": ["README.md", "pairs.jsonl"], "org/two": ["a/test.jsonl", "a/train.jsonl"]}


class Hub(BaseHTTPRequestHandler):
    """What the library asks of a hub: the tree of a data set, and a file."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = next((each for each in FILES if path.startswith(f"/api/datasets/{each}/tree/main")), None)
        if name is not None:
            tree = [{"type": "file", "path": each, "size": len(CONTENT), "oid": COMMIT} for each in FILES[name]]
            self._answer(json.dumps(tree).encode(), "application/json")
        elif path.startswith("/datasets/org/"):
            self._answer(CONTENT, "text/plain")
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "ETag": '"1"', "X-Repo-Commit": COMMIT}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Where the hub is, for the library, too."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found = f"http://127.0.0.1:{server.server_port}"
    told = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: told(endpoint=found, token=False))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("said", ["hf://datasets/org/one/pairs.jsonl", "hf:/datasets/org/one", "hf://org/one"])
def test_a_file_is_fetched_by_its_name_or_because_it_is_the_only_one(address: str, said: str) -> None:
    assert hub.is_address(said)
    assert hub.fetched(said, 1000) == ("pairs.jsonl", CONTENT)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("hf://datasets/org/two", "a/test.jsonl, a/train.jsonl. Write one"),
        ("hf://datasets/org/two/b.jsonl", "has no file b.jsonl"),
        ("hf://datasets/org/none/x.jsonl", "has no data set org/none"),
        ("hf://org", "hf://datasets/ORG/NAME/FILE"),
        ("hf://org/a..b", "hf://datasets/ORG/NAME/FILE"),
    ],
)
def test_what_is_not_there_is_said(address: str, said: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        hub.fetched(said, 1000)


def test_a_file_is_not_fetched_where_it_is_too_large(address: str) -> None:
    with pytest.raises(BadInput, match="10 is the most"):
        hub.fetched("hf://org/one", 10)


@pytest.mark.parametrize("reason", [httpx2.ConnectError("Connection refused"), OSError("offline")])
def test_without_a_hub_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, reason: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise reason

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_tree", refuse)
    with pytest.raises(Unavailable, match=f"The hub does not answer .{reason}"):
        hub.fetched("hf://org/one", 1000)
