"""``corral user``, ``corral invite``: people. Acts of the command line have no actor in the audit trail."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from app.commands.common import address, ask_password, person, table, transaction

commands = typer.Typer(no_args_is_help=True, help="People and their passwords.")

RoleName = Literal["annotator", "reviewer", "admin"]
Email = Annotated[str, typer.Argument(help="Their e-mail address for signing in.")]


@commands.command("add")
def add(
    email: Email,
    name: Annotated[str, typer.Option(help="Name shown to others.")],
    role: Annotated[RoleName, typer.Option(help="Their role.")] = "annotator",
) -> None:
    """Make an account. The password is asked for, or read from standard input."""
    from app.accounts.models import Role
    from app.accounts.service import audit, create_user

    password = ask_password()
    with transaction() as session:
        user = create_user(session, email=email, name=name, role=Role(role), password=password)
        audit(session, None, "user.created", "user", user.id, role=role)
    typer.echo(f"{name} can sign in as {user.email} ({role}).")


@commands.command("list")
def list_() -> None:
    """Everyone, the enabled first."""
    from app.accounts.queries import people

    with transaction() as session:
        table(
            ("email", "name", "role", "pseudonym", "state"),
            [
                (u.email, u.name, u.role.value, u.pseudonym, "disabled" if u.disabled_at else "")
                for u in people(session)
            ],
        )


@commands.command("disable")
def disable(email: Email) -> None:
    """Close an account: its sessions and tokens stop at once, its work stays."""
    from app.accounts import service

    with transaction() as session:
        service.disable(session, None, person(session, email))
    typer.echo(f"{email} can no longer sign in.")


@commands.command("enable")
def enable(email: Email) -> None:
    """Open a closed account again."""
    from app.accounts import service

    with transaction() as session:
        service.enable(session, None, person(session, email))
    typer.echo(f"{email} can sign in again.")


@commands.command("password")
def password(email: Email) -> None:
    """Set a password, asked for or read from standard input; signs out all browsers and revokes all API tokens."""
    from app.accounts.service import set_password

    chosen = ask_password()
    with transaction() as session:
        set_password(session, person(session, email), chosen)
    typer.echo(f"{email} has a new password and is signed out everywhere; their API tokens are revoked.")


@commands.command("role")
def role(email: Email, role: Annotated[RoleName, typer.Argument(help="Their role.")]) -> None:
    """Give a person another role."""
    from app.accounts.models import Role
    from app.accounts.service import set_role

    with transaction() as session:
        set_role(session, None, person(session, email), Role(role))
    typer.echo(f"{email} is now {role}.")


@commands.command("reset-second-step")
def reset_second_step(email: Email) -> None:
    """Turn off the second step of a person who lost app and recovery codes; signs out all browsers."""
    from app.accounts import second_step

    with transaction() as session:
        second_step.reset(session, None, person(session, email))
    typer.echo(f"{email} signs in by password alone, and is signed out everywhere.")


@commands.command("disconnect")
def disconnect(email: Email) -> None:
    """Disconnect a person from the identity provider: a password lets them in again (`corral user password`)."""
    from app.accounts import provided

    with transaction() as session:
        provided.disconnect(session, None, person(session, email))
    typer.echo(f"{email} is not connected to an identity provider any more.")


def invite(
    role: Annotated[RoleName, typer.Option(help="Role of the new account.")] = "annotator",
    email: Annotated[str | None, typer.Option(help="Only this address can use the link.")] = None,
) -> None:
    """Print a link that makes one account; it works once, within a week."""
    from app.accounts.models import Role
    from app.accounts.service import create_invite

    with transaction() as session:
        secret = create_invite(session, role=Role(role), email=email)
    typer.echo(f"{address()}/invite/{secret}")
