"""People and how they get in: users, invites, sessions, tokens, throttling, and the audit trail.

Secrets are stored only as SHA-256 of random values (256 bits for sessions, invites and tokens, 80 for recovery codes) or as
argon2 (passwords). That of an authenticator app has to be read again, and is sealed with a key that is not in the database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.locales import N_
from app.kernel.worded import Worded


class Role(Worded):
    """What a person may do: admins run everything, reviewers also read all annotations, annotators annotate."""

    ADMIN = N_("admin")
    REVIEWER = N_("reviewer")
    ANNOTATOR = N_("annotator")


_ROLES = {Role.ADMIN: N_("admin"), Role.REVIEWER: N_("reviewer"), Role.ANNOTATOR: N_("annotator")}


class User(Base):
    """A person. ``pseudonym`` is what exports carry instead of a name."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)

    id: Mapped[Key]
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    role: Mapped[Role] = mapped_column(enum_column(Role, "role"))
    pseudonym: Mapped[str] = mapped_column(String(40), unique=True)
    password_hash: Mapped[str]
    """Empty: the person has no password, and signs in through the identity provider."""
    preferences: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """Display settings that follow the person: layout, theme."""
    languages: Mapped[list[str]] = mapped_column(ARRAY(String(12)), server_default=text("'{}'"), default=list)
    """Codes of the languages that the person reads; none: not said, and everything is given."""
    toured_at: Mapped[Time | None]
    """When they finished the tour of three examples; what they said on the way is not kept."""
    disabled_at: Mapped[Time | None]
    created_at: Mapped[Created]


class Team(Base):
    """People whom batches are assigned to together."""

    __tablename__ = "teams"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(60), unique=True)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class TeamMember(Base):
    """Who is in a team. A person may be in several."""

    __tablename__ = "team_members"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"), primary_key=True, index=True)


class Invite(Base):
    """A one-time link that makes an account with ``role``; the first admin's is printed by ``corral up``."""

    __tablename__ = "invites"
    __table_args__ = (Index("ix_invites_mail_due_at", "mail_due_at", postgresql_where=text("mail_due_at IS NOT NULL")),)

    id: Mapped[Key]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    role: Mapped[Role] = mapped_column(enum_column(Role, "role"))
    email: Mapped[str | None] = mapped_column(String(254))
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[Time]
    used_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    used_at: Mapped[Time | None]
    mail_due_at: Mapped[Time | None]
    """When a worker mails the link next (:mod:`app.accounts.inviting`); null: it does not."""
    mail_tries: Mapped[int] = mapped_column(server_default="0", default=0)
    mailed_at: Mapped[Time | None]
    mail_error: Mapped[str | None] = mapped_column(String(300))
    """Why the last try failed."""
    created_at: Mapped[Created]


class LoginSession(Base):
    """A signed-in browser. Server-side, so that logout, disabling a user and expiry end it at once."""

    __tablename__ = "login_sessions"

    id: Mapped[Key]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    user_agent: Mapped[str] = mapped_column(String(300), server_default="")
    device_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    """SHA-256 of the browser's device cookie: one that has signed in before is not throttled with strangers."""
    expires_at: Mapped[Time]
    last_seen_at: Mapped[Created]
    """When it was last used, to ten minutes; one that is not used for long ends before it expires."""
    by_provider: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether the identity provider said who this is, and not a password."""
    asked_at: Mapped[Time | None]
    """When the provider had asked them, as far as it says so."""
    revoked_at: Mapped[Time | None]
    created_at: Mapped[Created]

    user: Mapped[User] = relationship(lazy="raise")


class SecondStep(Base):
    """The secret that somebody's authenticator app shares with us (TOTP, RFC 6238); sealed, see ``app.accounts.sealed``."""

    __tablename__ = "second_steps"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    secret: Mapped[str] = mapped_column(String(300), deferred=True)
    confirmed_at: Mapped[Time | None]
    """When the app showed a right code; until then nobody is asked for one."""
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    """The half minute of the code that was accepted last: neither it nor an earlier one is accepted again."""
    burnt: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"), default=list)
    """Half minutes to come whose codes were entered too early, and were said to be so."""
    failures: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    """Wrong codes from browsers that the account does not know, since the last right one."""
    created_at: Mapped[Created]


class RecoveryCode(Base):
    """A code of 80 random bits that replaces the app once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (UniqueConstraint("user_id", "code_hash"),)

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    used_at: Mapped[Time | None]
    created_at: Mapped[Created]


class ProviderAccount(Base):
    """Who somebody is at an identity provider. Its subject never changes and is never given to another; an address may be."""

    __tablename__ = "provider_accounts"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("user_id", "issuer"))

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    issuer: Mapped[str] = mapped_column(String(500))
    subject: Mapped[str] = mapped_column(String(255))
    used_at: Mapped[Time | None]
    """When it was last used to sign in."""
    created_at: Mapped[Created]


class ApiToken(Base):
    """A bearer token for ``/api/v1``; acts as its user, within ``scopes`` (``annotate``, ``read``, ``admin``)."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index(None, "parent_id", postgresql_where=text("parent_id IS NOT NULL")),)

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSONB)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("api_tokens.id"))
    """The token that made it, and with which it ends."""
    expires_at: Mapped[Time]
    last_used_at: Mapped[Time | None]
    revoked_at: Mapped[Time | None]
    created_at: Mapped[Created]

    user: Mapped[User] = relationship(lazy="raise")


class LoginAttempt(Base):
    """A failed sign-in, counted per address and per account to slow guessing without locking the owner out."""

    __tablename__ = "login_attempts"
    __table_args__ = (Index(None, "address", "at"), Index(None, "email_hash", "at"))

    id: Mapped[Key]
    address: Mapped[str] = mapped_column(String(64))
    email_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[Created]


class AuditEvent(Base):
    """Who did what to what, from where. Append-only: triggers refuse UPDATE, DELETE and TRUNCATE.

    What is too old goes through the database's function ``forget_audit_events``, and each removal is an event of its own.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "subject_type", "subject_id"),
        Index(None, "actor_id", "id"),
        Index(None, "action", "id"),
        Index(None, "address", "id"),
        Index(None, "at"),
    )

    id: Mapped[Key]
    at: Mapped[Created]
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    action: Mapped[str] = mapped_column(String(60))
    subject_type: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[int | None]
    details: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    address: Mapped[str | None] = mapped_column(String(64))
    """As the server saw it; "command line" for a command, None for a worker."""
    login_session_id: Mapped[int | None] = mapped_column(BigInteger)
    """No foreign key: a session is forgotten before what was done in it is."""
    token_id: Mapped[int | None] = mapped_column(BigInteger)
    request_id: Mapped[str | None] = mapped_column(String(64))
    """As the answer's ``x-request-id`` and the lines of the log name it."""


class IdempotencyKey(Base):
    """The stored answer to a write of the API, so that a retry with the same ``Idempotency-Key`` gets it again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    key: Mapped[str] = mapped_column(String(200))
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of method, path and body: the same key with another request is refused."""
    status: Mapped[int | None]
    body: Mapped[Any | None] = mapped_column(JSON)
    """JSON and not JSONB: the repetition is the first answer to the byte, the order of its keys included."""
    created_at: Mapped[Created]
