"""Chooses which of more answers are compared, by a linear head on what the base model makes of them."""
