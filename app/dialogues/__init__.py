"""Conversations with the models, turn by turn: every turn is a comparison of its own."""
