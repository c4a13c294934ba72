"""The second step of signing in: a code of an authenticator app (TOTP, RFC 6238), or a recovery code.

A code counts for its half minute and the two beside it, once: the last one that was accepted is stored, and nothing up to it
is accepted again. Wrong ones are counted like wrong passwords, but apart from them, and fewer are free: who gets here knows
the password. A code that is right for a clock of up to twenty minutes off is refused, and the sentence says how far. Were it
of a time to come, whoever guessed it could wait, so its half minute is burnt.

Nothing here commits. A wrong code is returned and not raised: it has to be counted.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, undefer

from app.accounts import bounded, queries, sealed, throttle
from app.accounts.models import LoginSession, RecoveryCode, Role, SecondStep, User
from app.accounts.service import audit, revoke_sessions
from app.kernel import origin
from app.kernel.addresses import network
from app.kernel.errors import Conflict, TooMany, refused
from app.kernel.locales import N_, english, ngettext
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings

SECONDS = 30
BESIDE = 1
"""Half minutes before and after the present one whose codes count."""
SEEN = 40
"""Half minutes around the present one in which a code shows that a clock is off: twenty minutes."""
DIGITS = 6
CODES = 10
PURPOSE = "second step"
LIMIT = throttle.Limit(free=10, ceiling=900)
"""Wrong codes for one account from wherever."""
MOST_WRONG = 100
"""Wrong codes from browsers that are not known, after which these need a recovery code (NIST SP 800-63B, 5.2.2). Three of a
million are right, so all of them together are found with a chance of 1 in 3,000."""
WRONG = N_("This code is not right. Enter the one that your app shows now, or a recovery code that you have not used.")
USED = N_("This code was already used. Wait until your app shows the next one.")
TOO_MANY = N_(
    "Too many wrong codes were entered for this account from other browsers. Use a recovery code, sign in with a browser "
    "that you have used before, or ask an admin to reset two-step verification."
)
UNREADABLE = N_(
    "The two-step verification of this account cannot be read with this installation's key. Use a recovery code, or ask an admin "
    "to reset it."
)


@dataclass(frozen=True)
class Checked:
    """What came of a code: ``problem`` is what to say where it does not count; ``left`` the recovery codes after one was used."""

    problem: str | None = None
    left: int | None = None


def is_on(session: Session, user: User) -> bool:
    """Whether ``user`` is asked for a code."""
    return standing(session, user) is not None


def standing(session: Session, user: User) -> SecondStep | None:
    """The second step that ``user`` has confirmed."""
    found = session.get(SecondStep, user.id)
    return found if found and found.confirmed_at is not None else None


def codes_left(session: Session, user: User) -> int:
    """The recovery codes that ``user`` has not used."""
    mine = (RecoveryCode.user_id == user.id) & RecoveryCode.used_at.is_(None)
    return session.scalar(select(func.count()).select_from(RecoveryCode).where(mine)) or 0


def people_with(session: Session) -> frozenset[int]:
    """The ids of all who have one."""
    return frozenset(session.scalars(select(SecondStep.user_id).where(SecondStep.confirmed_at.isnot(None))))


def is_wanted_of(session: Session, user: User) -> bool:
    """Whether ``user`` has to set one up, and has not."""
    wanted = get_settings().second_step
    if wanted == "optional" or (wanted == "admins" and user.role is not Role.ADMIN):
        return False
    return not is_on(session, user)


def is_missing(session: Session, user: User, session_id: int) -> bool:
    """Whether ``user`` has to set one up before anything else in this session. A provider asks for its own."""
    if not is_wanted_of(session, user):
        return False
    return not session.scalar(select(LoginSession.by_provider).where(LoginSession.id == session_id))


def begin(session: Session, user: User) -> str:
    """A new secret, as base32, which counts once :func:`confirm` has seen a code of it.

    Raises:
        Conflict: there is one that counts.
    """
    if is_on(session, user):
        raise Conflict(_("Two-step verification is already on. To use another app, turn it off and set it up again."))
    secret = pyotp.random_base32()
    session.execute(delete(SecondStep).where(SecondStep.user_id == user.id))
    session.add(SecondStep(user_id=user.id, secret=sealed.seal(PURPOSE, secret)))
    session.flush()
    return secret


def address_of(user: User, secret: str, site: str) -> str:
    """The ``otpauth:`` address that an app reads from a QR code; ``site`` is the host that it names."""
    return pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=f"Corral {site}")


def pending(session: Session, user: User) -> str | None:
    """The secret that :func:`begin` made and nobody has confirmed."""
    found = _locked(session, user)
    return sealed.unseal(PURPOSE, found.secret) if found and found.confirmed_at is None else None


def confirm(session: Session, user: User, code: str, *, keep: int) -> list[str]:
    """Turn it on: ``code`` shows that the app has the secret. Signs out all browsers but ``keep``.

    Returns:
        Ten recovery codes, of which only hashes are stored.

    Raises:
        BadInput: the code is not right, or not for now.
        Conflict: none was begun.
    """
    found = _locked(session, user)
    secret = sealed.unseal(PURPOSE, found.secret) if found and found.confirmed_at is None else None
    if found is None or secret is None:
        raise Conflict(_("Nothing is being set up here any more. Start again."))
    step, off = _step_of(secret, _cleaned(code))
    if step is None:
        raise refused("code", _("This code is not right. Enter the one that your app shows now."))
    if abs(off) > BESIDE:
        raise refused("code", _off(off))
    found.confirmed_at, found.last_step = func.now(), step
    audit(session, user, "second_step.on", "user", user.id)
    revoke_sessions(session, user, keep=keep, actor=user)
    return new_codes(session, user, noted=False)


def new_codes(session: Session, user: User, *, noted: bool = True) -> list[str]:
    """Ten recovery codes in place of those that there were."""
    codes = [_spelt(base64.b32encode(secrets.token_bytes(10)).decode()) for _ in range(CODES)]
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    session.add_all(RecoveryCode(user_id=user.id, code_hash=queries.digest(_cleaned(each))) for each in codes)
    session.flush()
    if noted:
        audit(session, user, "second_step.codes", "user", user.id)
    return codes


def turn_off(session: Session, user: User, *, actor: User | None, action: str = "second_step.off") -> None:
    """Ask ``user`` for no code any more."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    session.execute(delete(SecondStep).where(SecondStep.user_id == user.id))
    session.expire_all()
    audit(session, actor, action, "user", user.id)


def reset(session: Session, actor: User | None, user: User) -> None:
    """Turn it off for somebody who lost app and codes, and sign them out everywhere.

    Raises:
        Conflict: there is none, or it is the actor's own.
    """
    if actor is not None and actor.id == user.id:
        raise Conflict(_("Turn off your own two-step verification on your profile: that asks for a code."))
    if not is_on(session, user):
        raise Conflict(_("{name} has no two-step verification.", name=user.name))
    turn_off(session, user, actor=actor, action="second_step.reset")
    revoke_sessions(session, user, actor=actor)


def check(session: Session, user: User, code: str, address: str, device: str | None) -> Checked:
    """Whether ``code`` is one of ``user``'s, and use it up.

    Raises:
        TooMany: it is too early for another try; nothing was checked.
    """
    about = f"second step of {user.id}"
    try:
        source = throttle.check(session, about, address, user, device, by_account=LIMIT)
    except TooMany:
        origin.current().refusal = origin.Refusal("sign_in.throttled", "user", user.id)
        raise
    said = _cleaned(code)
    known = source.startswith(throttle.KNOWN)
    checked = _check_app(session, user, said, known=known) if said.isdigit() else _check_recovery(session, user, said)
    if checked.problem is None:
        throttle.forget(session, about, source)
        return checked
    throttle.note_failure(session, about, source)
    left_out = bounded.FAILURES.take(network(address))
    if left_out is not None:
        more = {"left_out": left_out} if left_out else {}
        reason = english(checked.problem).partition(":")[0]
        audit(session, None, "second_step.failed", "user", user.id, reason=reason, **more)
    return checked


def forget_unconfirmed(session: Session) -> None:
    """Delete secrets that nobody confirmed within a day."""
    old = SecondStep.confirmed_at.is_(None) & (SecondStep.created_at < func.now() - timedelta(days=1))
    session.execute(delete(SecondStep).where(old))


def _check_app(session: Session, user: User, said: str, *, known: bool) -> Checked:
    found = _locked(session, user)
    if found is None or found.confirmed_at is None:
        return Checked(_(WRONG))
    if not known and found.failures >= MOST_WRONG:
        return Checked(TOO_MANY)
    checked = _judged(found, said)
    if checked.problem is None:
        found.failures = 0
    elif not known:
        found.failures += 1
    return checked


def _judged(found: SecondStep, said: str) -> Checked:
    secret = sealed.unseal(PURPOSE, found.secret)
    if secret is None:
        return Checked(_(UNREADABLE))
    step, off = _step_of(secret, said)
    if step is None:
        return Checked(_(WRONG))
    if abs(off) > BESIDE:
        if off > 0:
            now = step - off
            found.burnt = [*(each for each in found.burnt if each >= now - BESIDE), step]
        return Checked(_off(off))
    if step <= (found.last_step or 0) or step in found.burnt:
        return Checked(_(USED))
    found.last_step = step
    return Checked()


def _check_recovery(session: Session, user: User, said: str) -> Checked:
    mine = (RecoveryCode.user_id == user.id) & (RecoveryCode.code_hash == queries.digest(said))
    unused = mine & RecoveryCode.used_at.is_(None)
    used = session.scalar(update(RecoveryCode).where(unused).values(used_at=func.now()).returning(RecoveryCode.id))
    if used is None or not is_on(session, user):
        return Checked(_(WRONG))
    left = codes_left(session, user)
    audit(session, user, "second_step.recovered", "user", user.id, codes_left=left)
    return Checked(left=left)


def _locked(session: Session, user: User) -> SecondStep | None:
    """The row, so that one code sent twice at once counts once."""
    query = select(SecondStep).where(SecondStep.user_id == user.id).with_for_update()
    options = {"populate_existing": True}
    return session.scalars(query.options(undefer(SecondStep.secret)), execution_options=options).one_or_none()


def _step_of(secret: str, said: str) -> tuple[int | None, int]:
    """The half minute whose code this is, the nearest to now, and how many it is away; None where it is none's."""
    if len(said) != DIGITS or not said.isascii():
        return None, 0
    now, app = int(_now()) // SECONDS, pyotp.TOTP(secret)
    fitting = [off for off in range(-SEEN, SEEN + 1) if hmac.compare_digest(app.generate_otp(now + off), said)]
    off = min(fitting, key=abs, default=None)
    return (None, 0) if off is None else (now + off, off)


def _now() -> float:
    return time.time()


def _off(off: int) -> str:
    minutes = max(1, round(abs(off) * SECONDS / 60))
    if off > 0:
        return ngettext(
            "This code is for a clock that is about {n} minute ahead of ours: check that your device's clock is right "
            "(set it automatically), then enter the code that it shows.",
            "This code is for a clock that is about {n} minutes ahead of ours: check that your device's clock is right "
            "(set it automatically), then enter the code that it shows.",
            minutes,
        )
    return ngettext(
        "This code is for a clock that is about {n} minute behind ours: check that your device's clock is right "
        "(set it automatically), then enter the code that it shows.",
        "This code is for a clock that is about {n} minutes behind ours: check that your device's clock is right "
        "(set it automatically), then enter the code that it shows.",
        minutes,
    )


def _cleaned(code: str) -> str:
    return "".join(each for each in code.upper() if each.isalnum())[:64]


def _spelt(code: str) -> str:
    return "-".join(code[at : at + 4].lower() for at in range(0, len(code), 4))
