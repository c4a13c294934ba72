"""Static files with their content's hash in the address, so that browsers may keep them for ever; and bundles.

A bundle is several of our style sheets, or plain scripts, sent as one: a page costs one request instead of five, and the
sources stay short files that are edited and seen at once, without a build step.

Scripts are modules that import each other by relative names. They are served below one folder whose name is the hash of all
of them together, so that what a page imports, at once or an hour later, is of the version that the page began with. After an
upgrade the folder of before is gone: a page that is still open is refused a module, and never gets half of the next version.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from app.kernel import locales
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.settings import ROOT

STATIC = ROOT / "static"
FOR_EVER = "public, max-age=31536000, immutable"
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
        "css/annotate-head.css",
        "css/annotate-prompt.css",
        "css/annotate-judge.css",
        "css/annotate-rank.css",
        "css/annotate-improve.css",
        "css/annotate-steps.css",
        "css/annotate-view.css",
        "css/findings.css",
        "css/trace.css",
    ),
    "keys.js": ("js/keys.js", "js/annotate-keys.js", "js/annotate-head.js"),
}

router = APIRouter()


@router.get("/static/bundles/{name}")
def bundle_file(name: str) -> Response:
    """One bundle, in the order in which its parts override each other."""
    if name not in BUNDLES:
        raise NotFound
    kind = "text/css" if name.endswith(".css") else "text/javascript"
    return Response("\n".join((STATIC / part).read_text() for part in BUNDLES[name]), media_type=kind)


@router.get("/static/modules/{version}/{name}")
def module_file(version: str, name: str) -> Response:
    """One of our scripts, of this version and of no other."""
    if name not in _modules() or version != _modules_version():
        raise NotFound(_("This page is from an earlier version of Corral. Reload it."))
    return FileResponse(STATIC / "js" / name, media_type="text/javascript", headers={"cache-control": FOR_EVER})


@router.get("/static/texts/{code}.js")
def texts_file(code: str) -> Response:
    """What our scripts say, in another language than English."""
    locale = locales.named(code)
    if locale is None or not locale.script:
        raise NotFound
    return Response(locale.script, media_type="text/javascript")


def is_current(path: str, query: str) -> bool:
    """Whether an address under ``/static`` names the content that is there now, so that it may be kept for ever."""
    name = path.removeprefix("/static/")
    if name.startswith("texts/"):
        locale = locales.named(name.removeprefix("texts/").removesuffix(".js"))
        return locale is not None and f"{path}?{query}" == locale.script_address
    known = name.removeprefix("bundles/")
    now = bundle(known) if known in BUNDLES else asset(name)
    return "?" in now and f"{path}?{query}" == now


def asset(name: str) -> str:
    """The address of a file under ``static/``."""
    if name.removeprefix("js/") in _modules() and name.startswith("js/"):
        return f"/static/modules/{_modules_version()}/{name.removeprefix('js/')}"
    path = STATIC / name
    return f"/static/{name}?v={_digest(path, path.stat().st_mtime_ns)}" if path.is_file() else f"/static/{name}"


def inlined(name: str) -> str:
    """An address that holds a small drawing under ``static/`` itself: it costs no request."""
    return f"data:image/svg+xml,{quote((STATIC / name).read_text(encoding='utf-8').strip())}"


def bundle(name: str) -> str:
    """The address of a bundle; it changes with any of its parts."""
    parts = [STATIC / part for part in BUNDLES[name]]
    together = "".join(_digest(part, part.stat().st_mtime_ns) for part in parts)
    return f"/static/bundles/{name}?v={hashlib.sha256(together.encode()).hexdigest()[:12]}"


def _modules() -> list[str]:
    return sorted(path.name for path in (STATIC / "js").glob("*.js"))


def _modules_version() -> str:
    parts = [STATIC / "js" / name for name in _modules()]
    together = "".join(f"{part.name}:{_digest(part, part.stat().st_mtime_ns)}\n" for part in parts)
    return hashlib.sha256(together.encode()).hexdigest()[:12]


@lru_cache(maxsize=256)
def _digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
