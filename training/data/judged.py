"""What a judge of facts says of sampled answers, as `workers.training.judged` has written it, and what is learnt from it.

Answers that are wrong by their source are dropped. Where all answers to a prompt claim what is wrong, the model can learn to say
that it does not know (Llama 3, arXiv 2407.21783, 4.3.6).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data import lines
from training.data.rules import language_of
from training.data.sampled import Sampled
from training.formats.errors import DataError

VERIFIER = "facts"
WRONG = "incorrect"
REMEDY = "have the answers judged again"
REFUSALS = {
    "ar": ("لا أعرف إجابة هذا السؤال.", "لا أعرف ذلك على وجه اليقين، وأفضّل ألا أخمّن."),
    "de": ("Das weiß ich leider nicht.", "Da bin ich mir nicht sicher und möchte nicht raten."),
    "en": ("I don't know the answer to that.", "I'm not sure about this, so I would rather not guess."),
    "es": ("No sé la respuesta a esa pregunta.", "No lo sé con certeza y prefiero no adivinar."),
    "fr": (
        "Je ne connais pas la réponse à cette question.",
        "Je n'en ai pas la certitude et je préfère ne pas deviner.",
    ),
    "it": ("Non conosco la risposta a questa domanda.", "Non lo so con certezza e preferisco non tirare a indovinare."),
    "ja": ("その質問の答えはわかりません。", "確かなことがわからないため、推測でお答えすることは控えます。"),
    "ko": ("그 질문의 답은 알지 못합니다.", "확실히 알지 못하므로 추측해서 답하지 않겠습니다."),
    "nl": ("Dat weet ik niet.", "Daar ben ik niet zeker van, dus ik gok liever niet."),
    "pl": ("Nie znam odpowiedzi na to pytanie.", "Nie wiem tego na pewno i wolę nie zgadywać."),
    "pt": ("Não sei a resposta a essa pergunta.", "Não sei ao certo e prefiro não adivinhar."),
    "ru": ("Я не знаю ответа на этот вопрос.", "Точно сказать не могу, а гадать не хочу."),
    "sv": ("Det vet jag inte.", "Jag är inte säker på det och vill inte gissa."),
    "zh": ("我不知道这个问题的答案。", "我对此没有把握，所以不想随意猜测。"),
}
"""By language, several so that no one string is learnt by heart; which of them, the prompt decides."""


@dataclass(frozen=True)
class Judged:
    """The answers to one prompt: which of them are wrong, and whether all are although they claim something."""

    wrong: frozenset[str]
    steadily_wrong: bool


def read(file: Path | None) -> dict[str, Judged]:
    """By the id of the prompt; nothing where there is no file.

    Raises:
        DataError: naming the line that cannot be understood.
    """
    found: dict[str, Judged] = {}
    for where, body in lines.read(file, REMEDY) if file else ():
        try:
            wrong = frozenset(str(each["text"]) for each in body["answers"] if each["verdict"] == WRONG)
            found[str(body["prompt_id"])] = Judged(wrong, bool(body["steadily_wrong"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"{file}, {where}: {error!r}: {REMEDY}") from error
    return found


def refusal(sampled: Sampled) -> str | None:
    """That one does not know, in the language of the question; None where that is not plain to see."""
    code = sampled.language or language_of(sampled.question)
    choice = REFUSALS.get(code or "")
    return choice[hashlib.sha256(sampled.key.encode()).digest()[0] % len(choice)] if choice else None


def without_wrong(
    decent: Sequence[tuple[Sampled, list[str]]],
    judged: Mapping[str, Judged],
    required: Sequence[str] | None,
    dropped: Counter[str],
    *,
    refusals: bool,
) -> tuple[list[tuple[Sampled, list[str]]], list[tuple[Sampled, str]]]:
    """What is left of the answers, and for which prompts a refusal is learnt instead of all of theirs.

    An answer that is wrong by its source is dropped where its batch or the run file requires this check, as with every other;
    what is dropped is counted.
    """
    left: list[tuple[Sampled, list[str]]] = []
    refused: list[tuple[Sampled, str]] = []
    for sampled, answers in decent:
        found = judged.get(sampled.prompt_id)
        said = refusal(sampled) if refusals and found and found.steadily_wrong else None
        if said is not None:
            refused.append((sampled, said))
            dropped["refusal_instead"] += len(answers)
            continue
        asked = required if sampled.required is None else sampled.required
        wrong = found.wrong if found and (asked is None or VERIFIER in asked) else frozenset[str]()
        kept = [text for text in answers if text not in wrong]
        if len(kept) < len(answers):
            dropped[f"failed/{VERIFIER}"] += len(answers) - len(kept)
        left.append((sampled, kept))
    return left, refused


def counted(judged: Mapping[str, Judged]) -> dict[str, Any]:
    """For a report."""
    return {"judged": len(judged), "steadily_wrong": sum(each.steadily_wrong for each in judged.values())}
