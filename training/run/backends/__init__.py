"""Who computes the loss: Corral's trainers, or TRL's on the same prepared rows.

`settings.py` says what a run of TRL's may ask for, `steps.py` what a step and a pass are made of, `rows.py` hands our token
ids over, and `trl.py`, the only module that imports TRL, trains. Data, references, measuring, saved states, checkpoint and
card are the same for both.
"""
