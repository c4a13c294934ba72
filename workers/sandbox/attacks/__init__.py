"""What code may try against the machine that runs it, each attempt by name.

A program of its own that runs inside of a sandbox (``python -m attacks NAME``) and needs the standard library alone. Each
attempt tells whether it came through, where nothing stopped it, and what it got. Each is bounded, so that it hurts no
machine even where nothing stops it. What it aims at stands in ``target.json`` (``workers.sandbox.proof``).
"""

from . import processes, reach, room  # noqa: F401  # they make themselves known
from .trying import ATTACKS, target

__all__ = ["ATTACKS", "target"]
