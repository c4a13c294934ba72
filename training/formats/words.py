"""What strengths and outcomes are called: once for the site, its scripts, the model card and the reports."""

from __future__ import annotations

from training.formats.pairs import ALL_UNACCEPTABLE, LABELLED, RANKED, TIE, WRITTEN

STRENGTHS = {4: "significantly better", 3: "better", 2: "slightly better", 1: "marginally better"}
"""By level, the strongest first."""
OUTCOMES = {
    RANKED: "ranked",
    TIE: "equally good",
    ALL_UNACCEPTABLE: "all unacceptable",
    WRITTEN: "written",
    LABELLED: "steps labelled",
}
OF_TWO = {TIE: "equally good", ALL_UNACCEPTABLE: "both unacceptable"}
"""The same where exactly two responses were shown."""
OF_MORE = {TIE: "all equal", ALL_UNACCEPTABLE: "all unacceptable"}
FROM_SCRATCH = "written from scratch"
"""What is said of an answer that a person wrote where no response was shown."""
