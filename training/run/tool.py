"""The command line around a tool that reads checkpoints and data, and writes one folder: evaluation and averaging.

Exit codes are those of `training.formats.errors`; the last line on stderr is one sentence that says what to do.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from training.formats.errors import TrainingError
from training.run import config

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
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, load no model, write nothing")
    given = parser.parse_args(argv)
    try:
        run(config.load_as(settings, given.run_file.resolve()), given.dry_run)
    except TrainingError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(f"writing failed ({error}): free some space or choose another folder, then start again", 4)
    return 0


def say(line: str) -> None:
    """One line of a report, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(" ".join(sentence.split()) + "\n")
    return code
