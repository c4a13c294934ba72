"""The quality of judgements: known answers, verified edits, reviews, and each person's own numbers."""
