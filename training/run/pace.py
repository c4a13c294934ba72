"""What measuring costs beside training, in steps: known from the rows before the first of them.

Work is counted in tokens that go forward through the model. A step also goes backward, which costs as much again for the
gradients of activations and, where all weights are trained, once more for those of weights. Nothing is timed: several
processes, and a run that goes on after an interruption, have to measure at the same steps.
"""

import math

from training.data.rows import Prepared
from training.formats.settings import RunConfig
from training.run.backends import steps


def steps_of(config: RunConfig, prepared: Prepared) -> int:
    """How many steps of the optimizer a run takes, as transformers counts them."""
    a_pass = max(1, -(-steps.taken(config, prepared.rows) // config.optim.batch_size))
    return config.optim.max_steps if config.optim.max_steps > 0 else max(1, math.ceil(config.optim.epochs * a_pass))


def tokens_a_step(config: RunConfig, prepared: Prepared) -> float:
    """Tokens that a step trains on, on average."""
    taken = steps.taken(config, prepared.rows)
    return steps.tokens(config, prepared.rows) / taken * min(config.optim.batch_size, taken)


def passes(config: RunConfig) -> int:
    """What a training token costs, in forward passes."""
    backward = 2 if config.model.trains == "all" else 1
    return 1 + backward + (config.model.gradient_checkpointing is True)


def evaluation_in_steps(config: RunConfig, prepared: Prepared) -> float:
    """What one held-out evaluation costs, in training steps; 0 where nothing is held out or trained on."""
    if not prepared.rows:
        return 0.0
    evaluated = sum(
        2 * example.length for example in prepared.held_out
    )  # chosen and rejected; the longer counts for both
    return evaluated / (passes(config) * tokens_a_step(config, prepared))


def evaluated_every(config: RunConfig, evaluation_steps: float) -> int:
    """The steps between two evaluations of a run, 0 for none: as many as wanted, more where these cost too much.

    Args:
        config: What is wanted at least, and the share that evaluating may take.
        evaluation_steps: What one evaluation costs, in training steps.
    """
    wanted = config.evaluation.every_steps
    return max(wanted, math.ceil(evaluation_steps / config.evaluation.share)) if wanted else 0
