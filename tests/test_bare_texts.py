"""Texts that are not marked for translation are found in templates, scripts and Python; marked ones and names are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import bare_texts

FOUND = {
    "a text": ("x.html", "<p>Nothing waits.</p>"),
    "a word": ("x.html", "<button>Save</button>"),
    "the rest of a sentence": ("x.html", "<p>{{ _('Shown to') }} {{ n }} people</p>"),
    "an attribute": ("x.html", '<a href="/x" title="Read more">{{ name }}</a>'),
    "a label that is chosen": ("x.html", "<p>{{ 'Too few' if few else _('Enough') }}</p>"),
    "what a macro is given": ("x.html", "{{ badge('Too few', 'warn') }}"),
    "a number": ("x.html", "{{ '{:,}'.format(n) }}"),
    "the name of a button": ("x.html", '<input type="submit" value="Send">'),
    "a hint": ("x.js", 'hint("Choose a response first");'),
    "a filled text": ("x.js", "say(`Ranked ${names}`);"),
    "a text that is set": ("x.js", 'place.textContent = "Nothing changed";'),
    "an error": ("x.py", 'raise Conflict("This batch is closed.")'),
    "an error with values": ("x.py", 'raise Conflict(f"Only {n} are left.")'),
    "a flash": ("x.py", 'redirect(request, "/", flash="It is saved.")'),
}
PASSES = {
    "a marked text": ("x.html", "<p>{{ _('Nothing waits.') }}</p>"),
    "a marked sentence": (
        "x.html",
        "<p>{% trans n=n %}{{ n }} item waits{% pluralize %}{{ n }} items wait{% endtrans %}</p>",
    ),
    "code": ("x.html", "<code>corral user add</code>"),
    "a name": ("x.html", "<span>Corral</span>"),
    "classes": ("x.html", '<p class="small soft">{{ text }}</p>'),
    "a comparison": ("x.html", "{% if kind == 'Too few' %}{{ n | number }}{% endif %}"),
    "a marked hint": ("x.js", 'hint(t("Choose a response first"));'),
    "forms": ("x.js", 'say(tn("{n} word", "{n} words", n));'),
    "a selector": ("x.js", 'const all = root.querySelectorAll(".response ins, .response del");'),
    "a marked error": ("x.py", 'raise Conflict(_("Only {n} are left.", n=n))'),
    "an error of a program": ("x.py", 'raise ValueError("This is no number.")'),
}


def found(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(bare_texts, "ROOT", folder)
    (folder / name).write_text(text)
    return list(bare_texts.found([folder]))


@pytest.mark.parametrize("kind", FOUND)
def test_what_is_not_marked_is_found(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = FOUND[kind]
    assert [each for each in found(tmp_path, name, text, monkeypatch) if each.startswith(f"{name}:1: ")]


@pytest.mark.parametrize("kind", PASSES)
def test_what_is_marked_passes(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tmp_path, *PASSES[kind], monkeypatch) == []
