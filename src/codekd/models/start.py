"""Initial weights of a student in a file: all but those of its classification head."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from codekd.errors import CodekdError

FILE = "start.safetensors"
OF_A_TASK = ("head.", "projector.")
"""Prefixes of the weights that a start leaves out: they are drawn by the seed of a cell."""


def save_start(model: PreTrainedModel, folder: Path) -> int:
    """Write a model's weights without those of its head into a folder, and return how many there are."""
    weights = {
        name: weight.detach().cpu().contiguous().clone()
        for name, weight in model.state_dict().items()
        if not name.startswith(OF_A_TASK)
    }
    save_file(weights, folder / FILE)
    return sum(weight.numel() for weight in weights.values())


def load_start(model: PreTrainedModel, folder: Path) -> None:
    """Load the weights that :func:`save_start` wrote into a model; its head stays as it is.

    Raises:
        CodekdError: the weights are those of another architecture.
    """
    weights = load_file(folder / FILE)
    own = {name: one for name, one in model.state_dict().items() if not name.startswith(OF_A_TASK)}
    if wrong := sorted(
        name for name in own.keys() | weights.keys() if _shape(own.get(name)) != _shape(weights.get(name))
    ):
        raise CodekdError(f"{folder / FILE} has weights of another student: {wrong[0]} differs. Delete {folder}.")
    model.load_state_dict(weights, strict=False)


def _shape(weight: object) -> object:
    return getattr(weight, "shape", None)
