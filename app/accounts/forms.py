"""What the pages of accounts post. An unknown field is refused; the rules about values are the services'."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.accounts.models import Role
from app.kernel import locales
from app.kernel.locales import gettext as _

Theme = Literal["system", "light", "dark"]


class Form(BaseModel):
    """Base of every form here."""

    model_config = ConfigDict(extra="forbid", str_max_length=2000)


class LoginForm(Form):
    """Signing in."""

    email: str = ""
    password: str = ""
    next: str = "/"


class InviteForm(Form):
    """New invites: one for whoever has the link, or one for each address. ``password`` is that of who makes them."""

    role: Role
    addresses: str = Field(default="", max_length=200_000)
    mail: bool = False
    password: str = ""


class AccountForm(Form):
    """A new account, made through an invite."""

    name: str = ""
    email: str = ""
    password: str = ""


class NameForm(Form):
    """Another name."""

    name: str = ""


class MembersForm(Form):
    """People who are added to a team or taken out: ticked, or by their addresses."""

    people: list[int] = Field(default=[], max_length=1000)
    addresses: str = Field(default="", max_length=200_000)


class LanguagesForm(Form):
    """The languages that somebody reads, by name or code."""

    languages: str = ""


class PasswordForm(Form):
    """A new password, and whether API tokens are revoked too."""

    current: str = ""
    password: str = ""
    revoke_tokens: bool = False


class OwnPasswordForm(Form):
    """One's own password, before what a browser left open may not do; empty where a provider has just said who it is."""

    password: str = ""


class BackForm(Form):
    """What a browser brings back from the identity provider, as far as it is read."""

    model_config = ConfigDict(extra="ignore", str_max_length=4000)

    code: str = ""
    state: str = ""
    error: str = ""
    iss: str | None = None


class CodeForm(Form):
    """A code of an authenticator app, or a recovery code."""

    code: str = ""


class CodeAndPasswordForm(CodeForm):
    """Both, before the second step changes."""

    password: str = ""


class ThemeForm(Form):
    """Light, dark, or as the system has it."""

    theme: Theme
    next: str = "/"


def _a_language(code: str) -> str:
    if code not in locales.offered():
        raise ValueError(_("Choose one of the languages that are offered."))
    return code


class LocaleForm(Form):
    """One of the languages that Corral can be read in."""

    locale: Annotated[str, AfterValidator(_a_language)]
    next: str = "/"


class TokenForm(Form):
    """A new API token. ``password`` is that of who makes it."""

    name: str = ""
    scopes: list[str] = Field(default_factory=list)
    days: int | None = None
    password: str = ""


class RoleForm(Form):
    """A new role for a person. ``password`` is the admin's own; without it, the answer asks for it."""

    role: Role
    password: str | None = None


class AskedAgainForm(Form):
    """The admin's own password; without it, the answer asks for it."""

    password: str | None = None
