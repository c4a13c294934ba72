"""How good the judgements are: known answers, verified edits, review, and what each person can learn from it."""
