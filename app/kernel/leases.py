"""Columns of ledger rows: work that one worker at a time holds, until its lease runs out.

The row says what is left to do, whatever becomes of its worker; times are the database's.
"""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Created, Time


class Leased:
    """A row that is held by a lease."""

    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    lease_until: Mapped[Time | None]
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Grows with each lease; what comes back with an older one is dropped."""


class Retried(Leased):
    """A leased row that waits between its tries, and says why the last one failed."""

    last_error: Mapped[str | None]
    next_try_at: Mapped[Created]
