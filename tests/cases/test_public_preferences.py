"""A public file of transcripts is read row by row; skipped by its name where it is missing."""

from __future__ import annotations

from collections import Counter

import pytest

from app.kernel.settings import ROOT
from training.data import snapshot
from training.data.left_out import LeftOut
from training.formats import rankings
from training.formats.rankings import held_out_pairs

FILE = ROOT.parent / "shared" / "data" / "preferences" / "hh_helpful_rejection_sampled.jsonl.gz"


@pytest.mark.parametrize("held_out_percent", [0, 10])
def test_every_row_of_a_public_file_is_a_pair_or_counted_by_its_reason(held_out_percent: int) -> None:
    """2,749 transcripts: 2,714 pairs, 32 with the same answer twice, three that part before the answer."""
    if not FILE.is_file():
        pytest.skip(f"the public file {FILE.name} is not beside the checkout")
    unusable = LeftOut()
    rows, _ = snapshot.read(FILE, held_out_percent, unusable)

    ranked, dropped = rankings.rank([row for row in rows if row.split == "train"], "majority", min_strength=1)
    judged, silent = held_out_pairs(row for row in rows if row.split == "held_out")

    held_out = {reason.removeprefix("held_out_"): count for reason, count in silent.items()}
    reasons = Counter(dropped) + Counter(held_out) + unusable.counts
    assert dict(reasons) == {"same_text": 32, "different_prompts": 3}
    assert unusable.named == {"different_prompts": ["line 720", "line 1598", "line 2365"]}
    assert sum(len(ranking.pairs) for ranking in ranked) + len(judged) == 2749 - reasons.total() == 2714
    assert (len(judged) > 0) == (held_out_percent > 0)
