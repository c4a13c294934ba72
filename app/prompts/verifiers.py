"""The names of verifiers in the settings of a batch: as a list, or as text in a form.

Which verifiers there are is known to the workers alone (``python -m workers.verifiers --names``), so they are asked once.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from app.kernel.locales import gettext as _
from app.kernel.settings import ROOT

NONE = "none"
"""In a form: nothing is checked. Empty, everything is."""
_NAME = re.compile("[a-z][a-z0-9_-]{0,59}")
PATIENCE = 20.0


@cache
def known() -> tuple[str, ...]:
    """The verifiers of this installation, quick ones first; nothing where they cannot be asked."""
    command = [sys.executable, "-m", "workers.verifiers", "--names"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(said.stdout.split())


def _listed(value: Any) -> Any:
    """A form sends text: names with commas or spaces between them."""
    if not isinstance(value, str):
        return value
    names = re.split(r"[\s,]+", value.strip().lower())
    return [] if names == [NONE] else [name for name in names if name]


def _there_are(value: list[str]) -> list[str]:
    there = known()
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError(
                _("“{name}” is no name of a verifier: write lower-case names, separated by commas", name=name[:60])
            )
        if there and name not in there:
            raise ValueError(_("No verifier is called “{name}”: there are {names}", name=name, names=", ".join(there)))
    return list(dict.fromkeys(value))


Verifiers = Annotated[list[str], Field(max_length=40), AfterValidator(_there_are), BeforeValidator(_listed)]
"""Names of verifiers, each once."""


def to_text(names: list[str] | None) -> str:
    """The names as a form shows them."""
    return "" if names is None else ", ".join(names) or NONE
