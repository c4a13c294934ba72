"""Languages of prompts, responses and people: a code of ISO 639-1 and its English name.

This is the one table of them. Pages, the verifier of languages and the rules of training all call a language by it.
"""

from __future__ import annotations

import re
from typing import Final

NAMES: Final = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bg": "Bulgarian",
    "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "km": "Khmer", "kn": "Kannada", "ko": "Korean", "la": "Latin",
    "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam", "mr": "Marathi", "ms": "Malay",
    "my": "Burmese", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sk": "Slovak", "sl": "Slovene", "so": "Somali", "sq": "Albanian",
    "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""Those that the verifier ``language`` can tell."""
SAME: Final = {"nb": "no", "nn": "no", "iw": "he", "in": "id", "fil": "tl", "cmn": "zh", "yue": "zh", "wuu": "zh"}
"""Other codes, and what the language is called by here."""
_BY_NAME: Final = {name.casefold(): code for code, name in NAMES.items()}


def code_of(said: str) -> str | None:
    """The code of a language that is called by its code, by a longer one (de-CH) or by its English name; else None."""
    plain = said.strip().casefold()
    code = re.split("[-_]", plain)[0]
    code = SAME.get(code, code)
    return code if code in NAMES else _BY_NAME.get(plain)


def codes_of(said: str) -> list[str]:
    """The codes of several languages with commas, semicolons or line ends between them, each once.

    Raises:
        ValueError: naming those that are none.
    """
    parts = [part.strip() for part in re.split("[,;\n]", said) if part.strip()]
    unknown = [part for part in parts if code_of(part) is None]
    if unknown:
        raise ValueError(
            f"not known: {', '.join(part[:40] for part in unknown[:5])}: use names or codes, such as German or de"
        )
    return list(dict.fromkeys(code for part in parts if (code := code_of(part)) is not None))


def named(codes: list[str]) -> str:
    """The English names, as a form shows them."""
    return ", ".join(NAMES.get(code, code) for code in codes)
