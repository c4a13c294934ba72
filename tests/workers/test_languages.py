"""The worker that tells the languages of prompts, with the real model of languages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select

from app.kernel.db import session_scope
from app.prompts.models import Prompt
from tests.factories import make_batch, make_prompt
from workers.tasks import checks, languages

TEXTS = {
    "Wie lange dauert es, bis ein Brief aus München in Hamburg ankommt?": "de",
    "東京から京都まで電車でどのくらいかかりますか。": "ja",
    "كم من الوقت يستغرق وصول الرسالة من القاهرة إلى الإسكندرية؟": "ar",
    "42?": "",
}


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    checks.checker().close()
    checks.checker.cache_clear()


def detected() -> list[str | None]:
    with session_scope() as session:
        return list(session.scalars(select(Prompt.language_detected).order_by(Prompt.id)))


def test_languages_are_told_and_what_is_too_short_is_left(committed: Engine) -> None:
    with session_scope() as session:
        batch = make_batch(session)
        for text in TEXTS:
            make_prompt(session, batch, text)
    assert languages.detect_languages() == len(TEXTS)
    assert detected() == list(TEXTS.values())
    assert languages.detect_languages() == 0


def test_without_the_package_nothing_is_detected(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "find_spec", lambda _: None)
    with session_scope() as session:
        make_prompt(session, make_batch(session), "Warum?")
    assert languages.detect_languages() == 0
    assert detected() == [None]
