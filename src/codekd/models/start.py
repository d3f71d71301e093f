"""The weights that a student begins from, in a file: all but those of its classification head."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from codekd.errors import CodekdError

FILE = "start.safetensors"
OF_A_TASK = ("head.", "projector.")
"""Begin the names of weights that a start has not: they are drawn by the seed of a cell."""


def save_start(model: PreTrainedModel, folder: Path) -> int:
    """Write the weights and return how many there are."""
    weights = {
        name: weight.detach().cpu().contiguous().clone()
        for name, weight in model.state_dict().items()
        if not name.startswith(OF_A_TASK)
    }
    save_file(weights, folder / FILE)
    return sum(weight.numel() for weight in weights.values())


def load_start(model: PreTrainedModel, folder: Path) -> None:
    """Give a model the weights in a folder; its head stays as it is.

    Raises:
        CodekdError: they are those of another architecture.
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
