"""What a run reports while it runs: `events.jsonl`, one JSON object a line, append-only and flushed at once.

A run that was killed and started again goes on in the same file, so a reader can follow it by offset. Every object has
`event` and `time` (unix seconds).
"""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from training.formats.aside import is_broken, set_aside

NAME = "events.jsonl"


class EventLog:
    """The event file of one run directory.

    A line that a killed process left unfinished is cut off when the file is opened; one that a disk broke is passed over.
    One that is `silent` writes nothing:
    of several processes one reports.
    """

    def __init__(self, run_dir: Path, *, silent: bool = False) -> None:
        self.path = run_dir / NAME
        self.silent = silent
        if is_broken(self.path, Path.is_file) and not silent:
            set_aside(self.path)
        if self.path.exists() and not silent:
            whole = self.path.read_bytes()
            if not whole.endswith(b"\n"):
                os.truncate(self.path, whole.rfind(b"\n") + 1)

    def emit(self, event: str, **body: Any) -> None:
        """Append one event; numbers that JSON has no word for (NaN, infinity) become null."""
        if self.silent:
            return
        if event == "warning":  # for whoever started the run by hand
            sys.stderr.write(f"{body['message']}\n")
        line = json.dumps({"event": event, "time": time.time()} | _finite(body), ensure_ascii=False, allow_nan=False)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def last(self, event: str) -> dict[str, Any] | None:
        """The latest event of that name, or None."""
        return next((body for body in reversed(self.every()) if body["event"] == event), None)

    def every(self) -> list[dict[str, Any]]:
        """All events, in their order."""
        if not self.path.exists():
            return []
        # Not splitlines(), which also splits at what may stand inside a line of JSON, such as U+2028.
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return [body for line in lines if (body := _body(line))]


def _body(line: str) -> dict[str, Any] | None:
    try:
        body = json.loads(line)
    except ValueError:
        return None
    return body if isinstance(body, dict) and "event" in body else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
