"""What files of preferences are made of: the part of `training` that the application and its workers read as well.

Standard library only, and nothing of the rest of `training`: whoever writes a file and whoever reads it must agree on
what a prompt is and on which side of the split it falls, so the rule has one home, and this is it
(docs/decisions/0021).
"""
