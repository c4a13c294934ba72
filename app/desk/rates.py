"""What work costs: one rate for the installation, per item or per active hour, and what it comes to. Nothing here commits."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.desk.counting import Work
from app.desk.models import Per, WorkRate
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.storable import flaw

CURRENCY = 12
"""Characters."""
MOST = Decimal(10_000_000)
STEP = Decimal("0.0001")


def current(session: Session) -> WorkRate | None:
    """The rate; None where none is set."""
    return session.get(WorkRate, 1, populate_existing=True)


def set_rate(session: Session, admin: User, amount: str, per: Per, currency: str) -> WorkRate:
    """Set the rate, in place of the one before. Again the same, it changes nothing.

    Raises:
        BadInput: the amount is not a number above 0 with at most four decimals, or there is no currency.
    """
    currency = currency.strip()
    wrong = flaw(currency)
    if not currency or len(currency) > CURRENCY or wrong:
        raise refused("currency", _("Give a currency of at most {most} characters, for example EUR.", most=CURRENCY))
    values = {"amount": _amount(amount), "per": per, "currency": currency}
    before = current(session)
    if before is None or any(getattr(before, name) != value for name, value in values.items()):
        statement = insert(WorkRate).values(id=1, **values)
        session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
        accounts.audit(
            session,
            admin,
            "rate.set",
            "installation",
            None,
            amount=str(values["amount"]),
            per=per.value,
            currency=currency,
        )
    return session.get_one(WorkRate, 1, populate_existing=True)


def remove_rate(session: Session, admin: User) -> bool:
    """Show no costs any more; whether there was a rate."""
    if session.scalar(delete(WorkRate).returning(WorkRate.id)) is None:
        return False
    accounts.audit(session, admin, "rate.remove", "installation", None)
    return True


def cost(rate: WorkRate | None, work: Work) -> Decimal | None:
    """What ``work`` costs; None without a rate, or where it is paid by the hour and nothing was timed."""
    if rate is None:
        return None
    if rate.per is Per.ITEM:
        return rate.amount * work.items
    return rate.amount * work.milliseconds / 3_600_000 if work.timed else None


def cost_per_item(rate: WorkRate | None, work: Work) -> Decimal | None:
    """What an item costs on average: of those whose time was measured, where work is paid by the hour."""
    total = cost(rate, work)
    if rate is None or total is None or not work.items:
        return None
    return rate.amount if rate.per is Per.ITEM else total / work.timed


def written(rate: WorkRate) -> str:
    """The amount as it is typed, without zeros behind its last decimal."""
    return f"{rate.amount.normalize():f}"


def money(amount: Decimal, currency: str) -> str:
    """An amount in words: cents, and of less than one unit two digits more."""
    return f"{number(float(amount), 2 if amount >= 1 else 4)} {currency}"


def _amount(said: str) -> Decimal:
    said = said.strip()
    try:
        amount = Decimal(said)
        fits = amount.is_finite() and 0 < amount < MOST and amount == amount.quantize(STEP)
    except InvalidOperation:
        fits = False
    if not fits:
        raise refused("amount", _("Give an amount above 0 with a point and at most four decimals, for example 0.35."))
    return amount
