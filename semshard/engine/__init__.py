"""Where it computes: device, precision, random streams, folded networks, and the one training loop."""

from .checkpoint import Checkpoint
from .deadline import NEVER, Deadline
from .folded import FoldedNetwork
from .network import TrainableNetwork, sgd
from .ranks import Ranks, joined
from .runtime import Runtime, choose_precision, choose_preset, deterministic, make_runtime
from .schedule import batch_numbers, learning_rate, permutation
from .training import Autosave, TrainingLoop
from .weights import bfloat16_where_exact, load_tensors, save_tensors, tensors_in

__all__ = [
    "NEVER",
    "Autosave",
    "Checkpoint",
    "Deadline",
    "FoldedNetwork",
    "Ranks",
    "Runtime",
    "TrainableNetwork",
    "TrainingLoop",
    "batch_numbers",
    "bfloat16_where_exact",
    "choose_precision",
    "choose_preset",
    "deterministic",
    "joined",
    "learning_rate",
    "load_tensors",
    "make_runtime",
    "permutation",
    "save_tensors",
    "sgd",
    "tensors_in",
]
