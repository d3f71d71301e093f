"""Checkpoint of a training run between two epochs, as one safetensors file."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codekd.files import put

log = logging.getLogger("codekd")

State = dict[str, Tensor]
FILE = "checkpoint.safetensors"


def save(scratch: Path, parts: dict[str, State], history: list[dict[str, Any]]) -> None:
    """Write states by name, e.g. ``{"model": ..., "best": ...}``, and the history, in the place of the old file.

    The old file is there until the new one is complete.
    """
    tensors = {f"{part}/{name}": tensor.clone() for part, state in parts.items() for name, tensor in state.items()}
    temporary = scratch / f"{FILE}.tmp"
    save_file(tensors, temporary, metadata={"history": json.dumps(history)})
    put(temporary, scratch / FILE)


def load(
    scratch: Path, wanted: Mapping[str, State] | None = None
) -> tuple[dict[str, State], list[dict[str, Any]]] | None:
    """Read what :func:`save` wrote; None where there is nothing to resume from.

    A file that cannot be read is as good as none, and so is one whose states have not the names and shapes of those
    that are ``wanted``, such as another model's.

    Returns:
        States by name, and the history.
    """
    path = scratch / FILE
    if not path.exists():
        return None
    parts: dict[str, State] = {}
    try:
        with safe_open(path, framework="pt") as file:
            history = json.loads(file.metadata()["history"])
            for key in file.keys():  # noqa: SIM118  (not a dict)
                part, _, name = key.partition("/")
                parts.setdefault(part, {})[name] = file.get_tensor(key)
        _check(parts, history, wanted or {})
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s) and ignored: training starts from the beginning", path, error)
        return None
    return parts, history


def _check(parts: Mapping[str, State], history: Any, wanted: Mapping[str, State]) -> None:
    if not isinstance(history, list) or not history or not all({"epoch", "parts"} <= {*row} for row in history):
        raise ValueError("no history of epochs")
    if "optimizer" not in parts:
        raise ValueError("no state of the optimizer")
    for part, state in wanted.items():
        shapes, found = ({name: one.shape for name, one in each.items()} for each in (state, parts.get(part, {})))
        if shapes != found:
            raise ValueError(f"{part} of another model")


def optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """An optimizer's tensors under flat names, e.g. ``3.exp_avg`` for the fourth parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Give an optimizer the tensors that :func:`optimizer_state` took from one over the same parameters."""
    nested: dict[int, State] = {}
    for key, value in state.items():
        index, _, name = key.partition(".")
        nested.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": nested})


def scaler_state(scaler: torch.amp.GradScaler) -> State:
    """A scaler's numbers as tensors; none of a scaler that is off."""
    return {name: torch.tensor(value) for name, value in scaler.state_dict().items()}


def restore_scaler(scaler: torch.amp.GradScaler, state: State) -> None:
    """Give a scaler the numbers that :func:`scaler_state` took from one."""
    if state:
        scaler.load_state_dict({name: value.item() for name, value in state.items()})
