"""A fake engine: OpenAI's API over real HTTP, with faults on request. A demo, too: ``python -m tests.fake_engine --port P``.

It serves what Corral asks of vLLM: completions of token ids, chat completions, ``/v1/models``, ``/version``, and loading and
unloading adapters. A fault may be limited to prompts that contain a text, and to a number of times.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.engine_faults import Fault, Mode
from tests.engine_http import Handler, Server, drop
from tests.patience import PATIENCE, eventually

WORDS = (
    "the",
    "a",
    "river",
    "light",
    "quiet",
    "answer",
    "because",
    "often",
    "seven",
    "green",
    "machine",
    "walks",
    "under",
)
CHATML = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""


def write_tiny_model(folder: Path) -> Path:
    """A base model's tokeniser and chat template without weights: one token a byte, and ChatML's control tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(CHATML)
    return folder


@dataclass
class FakeEngine:
    """The engine; :meth:`running` serves it from threads of this process."""

    model: Path | None = None
    base: str = "base"
    context: int = 2048
    delay: float = 0.0
    word_delay: float = 0.0
    """Seconds between the words of a stream."""
    word_delays: dict[str, float] = field(default_factory=dict)
    """The same of one model, by its name."""
    held_after: int | None = None
    """Words after which every stream waits until :meth:`go_on`: for what has to happen in the middle of a text."""
    dies_after: int | None = None
    """Requests to sample after which it answers nothing any more and stops listening, as a crash would."""
    faults: list[Fault] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    resolves: Path | None = None
    """The folder in which it finds adapters that it is asked for by name."""
    answers_as: dict[str, str] = field(default_factory=dict)
    """By the name that is asked for, whom it says to answer as."""
    answers: dict[str, Sequence[str]] = field(default_factory=dict)
    """By a part of a prompt, what it is answered with: each in turn, whoever asks."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Every sampling request, with the prompt as text under ``text``."""
    script: list[tuple[str, str | None]] = field(default_factory=list)
    """What is answered where a text stands in the prompt; the last that is there says it, None the usual words."""
    refuses: str = ""
    """A field of requests that it does not take."""
    asleep: bool = False
    """Whether it lets everything that it is asked wait."""
    told: list[str] = field(default_factory=list)
    """Each time that it was told to sleep or to wake."""
    port: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._turns: dict[str, int] = {}
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._gone = threading.Event()
        self._going = threading.Event()
        self._open: set[socket.socket] = set()
        self._tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json")) if self.model else None

    @property
    def url(self) -> str:
        """The address for ``CORRAL_ENGINE_URL``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def root(self) -> str | None:
        """What it was started with as ``--model``."""
        return str(self.model) if self.model else None

    @property
    def alive(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def start(self) -> FakeEngine:
        """Listen, on the same port as before when it was stopped; adapters are forgotten, as by a restart."""
        self._gone.clear()
        self._going.clear()
        self.adapters.clear()
        self.asleep = False
        self._server = Server(("127.0.0.1", self.port), type("OurHandler", (Handler,), {"fake": self}))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Die: stop listening, then drop every connection, mid-reply or not.

        In this order: whoever is dropped finds nobody there that still answers.
        """
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        with self._lock:
            self._gone.set()
            self._going.set()
            self.dies_after = None
            for connection in self._open:
                drop(connection)

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeEngine]:
        """Listen within the block."""
        try:
            yield self.start()
        finally:
            self.stop()

    # ── Sampling ─────────────────────────────────────────────────────────────────────────────────────────────────
    def fault(self, mode: Mode, match: str = "", times: int | None = None) -> None:
        """From now on fail in this way."""
        with self._lock:
            self.faults.append(Fault(mode, match, times))

    def heal(self) -> None:
        """No faults any more."""
        with self._lock:
            self.faults.clear()

    def prompts_asked(self) -> list[str]:
        """The text of every prompt that was sampled, probes left out."""
        with self._lock:
            return [str(ask["text"]) for ask in self.asked if ask["text"] != "Hi"]

    def wait_for(self, more: int) -> None:
        """Return when ``more`` prompts have been asked than at the call."""
        start = len(self.prompts_asked())
        eventually(lambda: len(self.prompts_asked()) >= start + more, PATIENCE, f"{more} more requests")

    def read(self, body: dict[str, Any]) -> str:
        """The prompt of a request as text; control tokens as they are written."""
        if "messages" in body:
            return "\n".join(str(message["content"]) for message in body["messages"])
        prompt = body["prompt"]
        if isinstance(prompt, str):
            return prompt
        return self._tokenizer.decode(prompt, skip_special_tokens=False) if self._tokenizer else f"{len(prompt)} tokens"

    def note(self, body: dict[str, Any]) -> Mode | None:
        """Write the request down; the fault that it meets."""
        text = self.read(body)
        with self._lock:
            self.asked.append({**body, "text": text})
            asked = sum(ask["text"] != "Hi" for ask in self.asked)
            if self.dies_after is not None and asked > self.dies_after:
                if asked == self.dies_after + 1:
                    threading.Thread(target=self.stop, daemon=True).start()
                return Mode.HANG
        return self.meets(text)

    def meets(self, text: str) -> Mode | None:
        """The fault of a request about ``text``."""
        with self._lock:
            for fault in self.faults:
                if fault.match in text and fault.times != 0:
                    fault.times = fault.times - 1 if fault.times is not None else None
                    return fault.mode
        return None

    def wait(self, seconds: float) -> bool:
        """Sleep unless it dies meanwhile; whether it died."""
        return self._gone.wait(seconds)

    def go_on(self) -> None:
        """Let the streams that are held, and those to come, end."""
        self._going.set()

    def held(self) -> bool:
        """Wait until the streams may go on; whether it died."""
        self._going.wait()
        return self._gone.is_set()

    def connection(self, connection: socket.socket, *, open_: bool) -> None:
        """Keep track of connections, to drop them when it dies."""
        with self._lock:
            (self._open.add if open_ else self._open.discard)(connection)
            if open_ and self._gone.is_set():  # it had been accepted when the engine died
                drop(connection)

    def reply(self, body: dict[str, Any], mode: Mode | None) -> dict[str, Any]:
        """A completion or chat completion for ``body``."""
        chat = "messages" in body
        number = int(body.get("n", 1)) + (mode is Mode.WRONG_COUNT)
        choices = [self._choice(index, body, mode, chat=chat) for index in range(number)]
        prompt = body.get("prompt", "")
        usage = {"prompt_tokens": len(prompt), "completion_tokens": sum(len(c["token_ids"]) for c in choices)}
        if not body.get("return_token_ids"):
            for choice in choices:
                del choice["token_ids"]
        reply: dict[str, Any] = {
            "id": "fake",
            "model": self.answers_as.get(body["model"], body["model"]),
            "choices": choices,
        }
        return reply if mode is Mode.NO_USAGE else reply | {"usage": usage}

    def _scripted(self, prompt: str) -> str | None:
        with self._lock:
            for part, texts in self.answers.items():
                if part in prompt:
                    turn = self._turns.get(part, 0)
                    self._turns[part] = turn + 1
                    return texts[turn % len(texts)]
        return None

    def _choice(self, index: int, body: dict[str, Any], mode: Mode | None, *, chat: bool) -> dict[str, Any]:
        with self._lock:
            serial = next(self._count)
        dice = random.Random(serial)
        text = f"{body['model']} {serial}: " + " ".join(dice.choice(WORDS) for _ in range(dice.randint(5, 60))) + "."
        text = self._scripted(self.read(body)) or text
        text = {
            Mode.EMPTY: "",
            Mode.NUL: "before\x00after",
            Mode.SURROGATE: "half \ud83d of one",
            Mode.HUGE: "x" * 5_000_000,
            Mode.IDENTICAL: "Always the same.",
        }.get(mode or Mode.ERROR, text)
        if self.script:
            asked = self.read(body)
            text = next((said for found, said in reversed(self.script) if found in asked), None) or text
        length = min(len(text.split()), int(body["max_tokens"]))
        answer: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        finish = None if mode is Mode.UNFINISHED else "stop"
        if mode is Mode.TOOL_CALL:
            call = {
                "id": "theirs-7",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"in": "Łódź"}'},
            }
            answer, finish = {"message": {"role": "assistant", "content": None, "tool_calls": [call]}}, "tool_calls"
        return {"index": index, "finish_reason": finish, "token_ids": list(range(length)), **answer}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path, help="a base model's folder, to read prompts with")
    parser.add_argument("--served-model-name", default="base")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds for each request")
    parser.add_argument("--dies-after", type=int)
    given = parser.parse_args()
    engine = FakeEngine(given.model, given.served_model_name, given.context, given.delay, given.dies_after)
    engine.port = given.port
    with engine.running(), contextlib.suppress(KeyboardInterrupt):
        while not engine.wait(1.0):
            time.sleep(0)


if __name__ == "__main__":
    main()
