"""Static files with their content's hash in the address, so that browsers may keep them for ever; and bundles.

A bundle is several of our style sheets, or plain scripts, sent as one: a page costs one request instead of five, and the
sources stay short files that are edited and seen at once, without a build step.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Response

from app.errors import NotFound
from app.settings import ROOT

STATIC = ROOT / "static"
BUNDLES = {
    "site.css": (
        "css/tokens.css",
        "css/base.css",
        "css/layout.css",
        "css/controls.css",
        "css/components.css",
        "css/overlays.css",
    ),
    "annotate.css": (
        "css/markup.css",
        "css/annotate.css",
        "css/annotate-judge.css",
        "css/annotate-rank.css",
        "css/annotate-improve.css",
        "css/annotate-view.css",
    ),
    "keys.js": ("js/keys.js", "js/annotate-keys.js"),
}

router = APIRouter()


@router.get("/static/bundles/{name}")
def bundle_file(name: str) -> Response:
    """One bundle, in the order in which its parts override each other."""
    if name not in BUNDLES:
        raise NotFound
    kind = "text/css" if name.endswith(".css") else "text/javascript"
    return Response("\n".join((STATIC / part).read_text() for part in BUNDLES[name]), media_type=kind)


def asset(name: str) -> str:
    """The address of a file under ``static/``."""
    path = STATIC / name
    return f"/static/{name}?v={_digest(path, path.stat().st_mtime_ns)}" if path.is_file() else f"/static/{name}"


def bundle(name: str) -> str:
    """The address of a bundle; it changes with any of its parts."""
    parts = [STATIC / part for part in BUNDLES[name]]
    together = "".join(_digest(part, part.stat().st_mtime_ns) for part in parts)
    return f"/static/bundles/{name}?v={hashlib.sha256(together.encode()).hexdigest()[:12]}"


@lru_cache(maxsize=256)
def _digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
