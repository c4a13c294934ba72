"""Training prompts that say again what a held-out prompt says.

The split is by a hash of the prompt's content, so the same prompt is never on both sides; a prompt with another comma
is. A held-out prompt counts as contained in a training prompt where at least `overlap` of its word n-grams occur there
(n-gram overlap as in Llama 3's contamination analysis, arXiv 2407.21783, 5.1.4). Words are compared without case,
accents' encoding and punctuation, and those of scripts without spaces letter by letter. System messages, which many
prompts share, say nothing. A message shorter than n words is one gram, which occurs in a message that holds these words
in a row and is at most twice as long: with a "please" behind it, but not in everything that says "hello" somewhere.
Left out: paraphrases, which share meaning without words.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from training.data import texts
from training.data.chat import Message

Prompt = Sequence[Message]
Gram = tuple[str, ...]


def contains_any(held_out: Iterable[Prompt], n: int, overlap: float) -> Callable[[Prompt], bool]:
    """A function that says whether a training prompt contains one of the held-out prompts; n = 0 is never."""
    owners: dict[Gram, list[int]] = defaultdict(list)
    sizes = []
    for number, prompt in enumerate(held_out if n else ()):
        grams = {gram for words in _messages(prompt) for gram in _grams(words, min(n, len(words)))}
        sizes.append(len(grams))
        for gram in grams:
            owners[gram].append(number)

    def contaminated(prompt: Prompt) -> bool:
        shared = Counter(number for gram in _found(prompt, n) for number in owners.get(gram, ())) if owners else {}
        return any(count >= overlap * sizes[number] for number, count in shared.items())

    return contaminated


def _found(prompt: Prompt, n: int) -> set[Gram]:
    """What a training prompt holds: its n-grams, and the shorter ones that make at least half of a message."""
    return {
        gram
        for words in _messages(prompt)
        for size in {*range(-(-len(words) // 2), min(n, len(words) + 1)), n}
        for gram in _grams(words, size)
    }


def _messages(prompt: Prompt) -> list[list[str]]:
    """The words of each message that has any and is no system message."""
    said = (
        unicodedata.normalize("NFKC", message["content"]).casefold()
        for message in prompt
        if message["role"] != "system"
    )
    return [words for words in map(texts.words, said) if words]


def _grams(words: Sequence[str], size: int) -> list[Gram]:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
