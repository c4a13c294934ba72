"""What files of preferences are made of: the part of `training` that the application and its workers read as well.

Standard library only (of chat, Jinja and tokenizers as well), and nothing of the rest of `training`: whoever writes a
file and whoever reads it must agree on what a prompt is and on which side of the split it falls, so the rule has one
home, and this is it (docs/decisions/0021). So must whoever samples behind a conversation and whoever trains behind it.
"""
