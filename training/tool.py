"""The command line around a tool that reads checkpoints and data, and writes one folder: evaluation and averaging.

Exit codes are those of `training.errors`; the last line on stderr is one sentence that says what to do.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from training import config
from training.errors import TrainingError

Settings = TypeVar("Settings")


def main(doc: str, settings: type[Settings], run: Callable[[Settings, bool], None], argv: list[str]) -> int:
    """Read the run file into `settings` and call `run(settings, dry_run)`; returns the exit code.

    Args:
        doc: The docstring of the tool's module, which `--help` prints.
        settings: The dataclass of its run file.
        run: The tool.
        argv: What was typed behind its name.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_file", type=Path, metavar="RUN.toml")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, load no model, write nothing")
    given = parser.parse_args(argv)
    try:
        run(config.load_as(settings, given.run_file.resolve()), given.dry_run)
    except TrainingError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(f"the disk refused ({error}): free some space or choose another folder, then start again", 4)
    return 0


def say(line: str) -> None:
    """One line of a report, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write_json(path: Path, body: Any) -> None:
    """Write a report so that no reader ever sees half of it."""
    write_text(path, json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(" ".join(sentence.split()) + "\n")
    return code
