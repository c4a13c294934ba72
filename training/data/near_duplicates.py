"""Texts that say nearly the same, by the angle between their character n-grams (TF-IDF, docs/decisions/0017).

A text is kept unless it is too close to one that was kept before it, the best first (Llama 3, arXiv 2407.21783, 4.2.3,
after Abbas et al., arXiv 2303.09540, which compares embeddings instead).
"""

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NGRAM = 4
BUCKETS = 2**14

Vectors = npt.NDArray[np.float32]


def distinct(kept: Sequence[str], candidates: Sequence[str], closest: float) -> list[bool]:
    """For each candidate, the best first, whether nothing kept before it has a cosine of `closest` or more to it.

    Args:
        kept: They stay, however close they are to each other.
        candidates: Each that stays is compared with those behind it.
        closest: From 0 to 1.
    """
    vectors = tf_idf([*kept, *candidates])
    staying = len(kept)
    verdicts = []
    for index in range(staying, len(vectors)):
        verdicts.append(not (vectors[:staying] @ vectors[index] >= closest).any())
        if verdicts[-1]:
            # What stays moves to the front of the block: picking it out each time anew would copy all of it.
            vectors[staying] = vectors[index]
            staying += 1
    return verdicts


def tf_idf(texts: Sequence[str]) -> Vectors:
    """Unit vectors of hashed character n-grams, [texts, buckets]; the white space and case of a text do not count."""
    vectors = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        plain = f" {' '.join(text.lower().split())} "
        grams = Counter(plain[start : start + NGRAM] for start in range(max(1, len(plain) - NGRAM + 1)))
        for gram, count in grams.items():
            vectors[row, zlib.crc32(gram.encode()) % BUCKETS] += 1 + np.log(count)
    documents = (vectors > 0).sum(axis=0)
    vectors *= np.log((1 + len(texts)) / (1 + documents)) + 1
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors
