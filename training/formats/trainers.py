"""Who trains a run, Corral's trainers or TRL's: the names of both, and which losses each of them has.

`auto` is Corral's wherever it has the loss, because it reads a prompt once for all its responses; a loss that only TRL has
is trained by TRL.
"""

from typing import Literal, get_args

Trainer = Literal["corral", "trl"]
# The four of training/model/losses.py; then those of TRL's DPOTrainer, its KTOTrainer and its ORPOTrainer.
OwnLoss = Literal["sigmoid", "sigmoid_norm", "robust", "ipo"]
PairLoss = Literal[
    "sigmoid", "sigmoid_norm", "robust", "ipo", "hinge", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop",
]  # fmt: skip
UnpairedLoss = Literal["kto", "apo_zero_unpaired"]
OddsLoss = Literal["orpo"]
LossType = Literal[OwnLoss, PairLoss, UnpairedLoss, OddsLoss]

OWN: frozenset[str] = frozenset(get_args(OwnLoss))
UNPAIRED: frozenset[str] = frozenset(get_args(UnpairedLoss))
ODDS: frozenset[str] = frozenset(get_args(OddsLoss))


def chosen(said: object, loss_type: object = None) -> object:
    """The trainer of a run whose settings say `said` ("auto" where they say nothing) and, for DPO, `loss_type`.

    What is neither a trainer nor "auto" is returned as it is, to be refused by whoever reads the settings.
    """
    if said != "auto":
        return said
    known = get_args(LossType)
    return "trl" if loss_type in known and loss_type not in OWN else "corral"


def class_of(kind: str, loss_type: object = None) -> str:
    """The class of TRL that trains a kind of run."""
    if kind != "dpo":
        return {"reward": "RewardTrainer", "sft": "SFTTrainer", "grpo": "GRPOTrainer"}[kind]
    return "KTOTrainer" if loss_type in UNPAIRED else "ORPOTrainer" if loss_type in ODDS else "DPOTrainer"


def words(trainer: object, kind: str, loss_type: object = None) -> str:
    """Who trained, for a person: “Corral” or “TRL (DPOTrainer)”."""
    return f"TRL ({class_of(kind, loss_type)})" if trainer == "trl" else "Corral"


def settled(stored: str | None) -> str:
    """The words that a finished run kept; before there was a choice it kept none, and Corral trained."""
    return stored or words("corral", "reward")


def trainer_of(said: str) -> Trainer:
    """Which trainer the words of `words` name."""
    return "trl" if said.startswith("TRL") else "corral"
