"""One training run in several processes, one a GPU: the parts of a batch are divided, and their gradients added."""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass(frozen=True)
class Processes:
    """This process, number ``index`` of ``count``."""

    index: int
    count: int

    @classmethod
    def current(cls) -> "Processes":
        """As the launcher set it; a process that was not launched is alone."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(0, 1)
        state = _state()
        return cls(state.process_index, state.num_processes)

    @property
    def first(self) -> bool:
        """Whether this is the one that evaluates and writes."""
        return self.index == 0

    def add(self, parameters: Iterable[Tensor], value: float) -> float:
        """Make the gradients of some parameters their sums over all processes, and return that of a value."""
        if self.count == 1:
            return value
        from accelerate.utils import reduce

        trained = [parameter for parameter in parameters if parameter.requires_grad]
        found = [torch.zeros_like(one) if one.grad is None else one.grad for one in trained]
        flat = torch.cat([gradient.flatten().float() for gradient in found])
        *summed, total = reduce(torch.cat([flat, flat.new_tensor([value])]), "sum").split(
            [*map(Tensor.numel, found), 1]
        )
        for parameter, gradient in zip(trained, summed, strict=True):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype)
        return total.item()

    def all(self, here: bool) -> bool:
        """Whether something is true in all processes."""
        if self.count == 1:
            return here
        from accelerate.utils import reduce

        return int(reduce(torch.tensor(int(here), device=_state().device), "sum").item()) == self.count

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            _state().wait_for_everyone()


def _state() -> "PartialState":
    from accelerate import PartialState

    # Where there is no GPU it takes every process for the only one, unless it is told.
    return PartialState(cpu=not torch.cuda.is_available())


def launch(function: Callable[[], object], count: int) -> None:
    """Run a function in so many processes, on a GPU each. No GPU may have been used before."""
    from accelerate import notebook_launcher

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run() -> None:
        # It makes one of the GPUs the current one of this process, which is asked for when a device is chosen.
        _state()
        function()

    notebook_launcher(run, num_processes=count, use_port=str(port))
