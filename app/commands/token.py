"""``corral token``: bearer tokens for the JSON API."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.common import person, table, transaction

commands = typer.Typer(no_args_is_help=True, help="Bearer tokens for the JSON API.")

Email = Annotated[str, typer.Argument(help="The owner's e-mail address; the token acts as this person.")]


@commands.command("create")
def create(
    email: Email,
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="Its scopes: annotate, read, admin; can be repeated.")],
    days: Annotated[int | None, typer.Option(help="Days until it expires; CORRAL_TOKEN_DAYS, else 90.")] = None,
) -> None:
    """Print a new token. It is shown this once."""
    from app.accounts.service import create_token

    with transaction() as session:
        secret = create_token(session, person(session, email), name, scope, days=days)
    typer.echo(secret)


@commands.command("list")
def list_(email: Email) -> None:
    """A person's tokens that still work, newest first."""
    from app.accounts.queries import live_tokens

    with transaction() as session:
        tokens = live_tokens(session, person(session, email))
        rows = [
            (t.id, t.name, ", ".join(t.scopes), t.created_at.date(), t.expires_at.date(), t.last_used_at or "never")
            for t in tokens
        ]
        table(("id", "name", "scopes", "created", "works until", "last used"), rows)


@commands.command("revoke")
def revoke(token_id: Annotated[int, typer.Argument(help="As `corral token list` shows it.")]) -> None:
    """End a token at once."""
    from app.accounts.models import ApiToken, User
    from app.accounts.service import revoke_token
    from app.kernel.errors import NotFound

    with transaction() as session:
        token = session.get(ApiToken, token_id)
        if token is None or token.revoked_at is not None:
            raise NotFound(f"There is no active token {token_id}: `corral token list EMAIL` shows them.")
        revoke_token(session, session.get_one(User, token.user_id), token_id)
    typer.echo(f"Token {token_id} is revoked.")
