"""Training prompts that say again what a held-out prompt says.

The split is by a hash of the prompt's content, so the same prompt is never on both sides; a prompt with another comma
is. A held-out prompt counts as contained in a training prompt where at least `overlap` of its word n-grams occur there
(n-gram overlap as in Llama 3's contamination analysis, arXiv 2407.21783, 5.1.4). Words are compared without case,
accents' encoding and punctuation. System messages, which many prompts share, say nothing; a message shorter than n words
is one gram. Left out: paraphrases, which share meaning without words.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from training.chat import Message

Prompt = Sequence[Message]
_WORDS = re.compile(r"\w+")


def contains_any(held_out: Iterable[Prompt], n: int, overlap: float) -> Callable[[Prompt], bool]:
    """A function that says whether a training prompt contains one of the held-out prompts; n = 0 is never."""
    owners: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = []
    for number, prompt in enumerate(held_out if n else ()):
        grams = _grams(prompt, n)
        sizes.append(len(grams))
        for gram in grams:
            owners[gram].append(number)

    def contaminated(prompt: Prompt) -> bool:
        shared = Counter(number for gram in _grams(prompt, n) for number in owners.get(gram, ())) if owners else {}
        return any(count >= overlap * sizes[number] for number, count in shared.items())

    return contaminated


def _grams(prompt: Prompt, n: int) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for message in prompt:
        words = _WORDS.findall(unicodedata.normalize("NFKC", message["content"]).casefold())
        if words and message["role"] != "system":
            found |= {tuple(words[start : start + n]) for start in range(max(1, len(words) - n + 1))}
    return found
