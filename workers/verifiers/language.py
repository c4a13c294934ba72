"""Whether a response is written in the language that is wanted, throughout.

Test: ``{"kind": "language", "wanted": "de"}``; a list means one of them, "prompt" the language of the question. Code, quotes and
names may be in any.
"""

from __future__ import annotations

from typing import Any, Final

from training.formats.languages import NAMES
from workers.verifiers import languages
from workers.verifiers.protocol import Case, Finding, unchecked

ENOUGH: Final = 0.9
"""Share of the letters that must be in the language: a sentence aside in another is a mixed text."""


class Language:
    """Whether the response is in the language that is wanted."""

    name = "language"
    version = "1"
    limit_s = 4.0

    def applies(self, case: Case) -> bool:
        """A ``language`` test."""
        return bool(case.tests_of("language"))

    def load(self, _: Case) -> None:
        """The languages' model."""
        languages.load()

    def check(self, case: Case) -> Finding:
        """The share of the response that is in the wanted language."""
        try:
            wanted = self._wanted(case)
        except ValueError as error:
            return unchecked(self, f"wanted: {error}")
        if not wanted:
            return unchecked(self, "wanted: the question has too few words to say its language")
        shares = languages.shares(case.response, wanted=frozenset(wanted))
        if not shares:
            return unchecked(self, "Too few words to say a language")
        share = max(sum(part for code, part in shares.items() if languages.alike(code, each)) for each in wanted)
        named = " or ".join(NAMES[code] for code in wanted)
        found = ", ".join(f"{NAMES.get(code, code)} {part:.0%}" for code, part in shares.items() if part >= 0.01)
        passed = share >= ENOUGH
        message = f"{named}, as wanted" if passed else f"{named} is wanted; found: {found}"
        evidence = {"wanted": wanted, "found": {code: round(part, 3) for code, part in shares.items()}}
        return Finding(self.name, self.version, passed, message, share, evidence)

    def _wanted(self, case: Case) -> list[str]:
        found: list[str] = []
        for test in case.tests_of("language"):
            value = test.get("wanted")
            for each in value if isinstance(value, list) else [value]:
                if each == "prompt":
                    code = languages.language_of(_question(case))
                    found += [code] if code is not None else []
                elif isinstance(each, str):
                    found.append(languages.code_of(each))
                else:
                    raise ValueError("give the code of a language, such as de")
        return list(dict.fromkeys(found))


def _question(case: Case) -> str:
    content: Any = next((m.get("content") for m in reversed(case.prompt) if m.get("role") == "user"), "")
    return content if isinstance(content, str) else ""
