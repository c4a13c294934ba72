"""Brings a database to where the web server can start: migrations, then :mod:`app.site.first_start`. Runs once a start.

``corral up`` runs it beside the web server's own imports, so it waits for a database that is still starting.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

INVITE = "first-admin-invite:"
"""Before the secret on the line for ``corral up``, which keeps it out of the log."""
PATIENCE = 60.0
"""Seconds for which a database that we start ourselves may take to answer."""
PATIENCE_WITH_OTHERS = 10.0


def prepare(url: str, patience: float = PATIENCE_WITH_OTHERS) -> str | None:
    """Migrate and bootstrap the database at ``url``; returns the first admin's invite while there is no admin."""
    import app.site.tables  # noqa: F401 - foreign keys between domains resolve
    from app.kernel.db import get_engine, session_scope
    from app.services.migrating import upgrade
    from app.site.first_start import ensure

    _await_database(url, patience)
    upgrade(url)
    try:
        with session_scope() as session:
            return ensure(session).admin_invite
    finally:
        get_engine().dispose()


def _await_database(url: str, patience: float) -> None:
    """Wait until the server answers; create the database where the server is ours and new.

    Raises:
        AppError: it does not answer within ``patience`` seconds, or refuses us.
    """
    import psycopg
    from sqlalchemy import make_url

    from app.kernel.errors import AppError
    from app.services.embedded import ensure_database

    deadline = time.monotonic() + patience
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            said = str(error).strip().splitlines()[-1].strip()
            if "does not exist" in said and "database" in said:
                parsed = make_url(url)
                ensure_database(
                    parsed.set(database="postgres").render_as_string(hide_password=False), str(parsed.database)
                )
            elif time.monotonic() > deadline:
                raise AppError(
                    f"The database cannot be reached ({said}): start it, or correct DATABASE_URL."
                ) from error
            else:
                time.sleep(0.02)
        else:
            return


def main(arguments: Sequence[str]) -> int:
    """For ``corral up``: ``python -m app.laptop.prepare SECONDS`` on the settings' database; the invite goes out as one line."""
    from app.kernel.errors import one_sentence
    from app.kernel.settings import get_settings

    try:
        invite = prepare(get_settings().database_url, float(arguments[0]))
    except Exception as error:
        sentence = one_sentence(error)
        if sentence is None:
            raise
        sys.stderr.write(f"corral: {sentence}\n")
        return 1
    if invite:
        sys.stdout.write(f"{INVITE}{invite}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
