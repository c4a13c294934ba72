"""Take a picture of every page, in both themes, and write ``docs/pages.md`` around them: ``make gallery``.

``python -m scripts.gallery playground rounds`` takes those alone whose names say one of these words, and leaves the others.

The pages are those that the accessibility tests visit, over a database of its own that holds an installation in the middle of
its life, so nothing has to run beforehand and every run draws the same.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

    from tests.browser.stops import Stop

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images" / "pages"
PAGE = ROOT / "docs" / "pages.md"
WIDTH, HEIGHT, QUALITY = 1200, 820, 35
FIRST = "\n## `"
"""Where the pictures begin in the page; what stands before is written by hand."""


@contextmanager
def serving() -> Iterator[str]:
    """The web application over an embedded database that goes away afterwards."""
    from app.services.embedded import free_port, temporary_postgres

    with temporary_postgres("fsync=off") as database, tempfile.TemporaryDirectory() as data:
        os.environ |= {"DATABASE_URL": database, "BROKER_URL": "memory://", "CORRAL_DATA_DIR": data}
        import uvicorn
        from alembic import command

        from app.services.migrating import config
        from app.site.main import create_app

        command.upgrade(config(), "head")
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(create_app(), port=port, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(10)


def name_of(stop: Stop) -> str:
    """A file name that says template, place and state."""
    place = re.sub(r"[{}?=&]+", "-", stop.path.rsplit("/", 1)[-1]).strip("-")
    state = stop.act.__name__ if stop.act else stop.role and stop.role.value
    template = stop.template.removesuffix(".html").replace("/", "-")
    return "-".join(filter(None, (template, place, state)))


def take(browser: Browser, url: str, stop: Stop) -> None:
    """One page in both themes, each over an installation made anew: a draft of one picture is not in the next."""
    from sqlalchemy.orm import Session

    from app.accounts import signing_in
    from app.kernel.db import get_engine, session_scope
    from tests.browser.scenes import set_scene
    from tests.emptying import empty

    for scheme in ("light", "dark"):
        with Session(get_engine(), expire_on_commit=False) as session:
            empty(session.connection())
            session.commit()
            scene = set_scene(session, stop.path)
        size: ViewportSize = {"width": WIDTH, "height": HEIGHT}
        context = browser.new_context(locale="en-US", color_scheme=scheme, viewport=size)
        if stop.role:
            with session_scope() as signing:
                secret = signing_in.start_session(signing, scene.people[stop.role])
            context.add_cookies([{"name": "corral", "value": secret, "url": url}])
        page = context.new_page()
        page.goto(url + stop.path.format(**scene.ids), wait_until="networkidle")
        if stop.act:
            stop.act(page)
        page.screenshot(path=IMAGES / f"{name_of(stop)}-{scheme}.jpg", type="jpeg", quality=QUALITY)
        context.close()


def written(stop: Stop) -> str:
    """The part of the page about one."""
    name, act = name_of(stop), stop.act.__name__ if stop.act else ""
    words = act.replace("_", " ") or f"as {stop.role.value if stop.role else 'nobody'}"
    return (
        f"## `{stop.path}`, {words}\n\n"
        f"| light | dark |\n|---|---|\n"
        f"| ![{stop.path}, {words}, light](images/pages/{name}-light.jpg) "
        f"| ![{stop.path}, {words}, dark](images/pages/{name}-dark.jpg) |\n"
    )


def main() -> None:
    """Take them all, or those that are asked for."""
    wanted = sys.argv[1:]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with serving() as url:
        from tests.browser import chromium
        from tests.browser.stops import STOPS

        with chromium.browser() as browser:
            for stop in STOPS:
                if not wanted or any(word in name_of(stop) for word in wanted):
                    take(browser, url, stop)
                    sys.stdout.write(f"{name_of(stop)}\n")
    head, _, _ = PAGE.read_text().partition(FIRST)
    PAGE.write_text("\n".join([head, *map(written, STOPS)]))


if __name__ == "__main__":
    main()
