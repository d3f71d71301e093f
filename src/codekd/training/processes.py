"""Training run in several processes, one a GPU: the parts of a batch are divided, and their gradients added."""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from codekd.errors import CodekdError

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass(frozen=True)
class Processes:
    """Place of this process, number ``index``, among the ``count`` of a training run."""

    index: int
    count: int

    @classmethod
    def current(cls) -> "Processes":
        """Place of this process as the launcher set it; a process that was not launched is the only one."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(0, 1)
        state = _state()
        return cls(state.process_index, state.num_processes)

    @property
    def first(self) -> bool:
        """Whether this process is the one that evaluates and writes."""
        return self.index == 0

    def add(self, parameters: Iterable[Tensor], value: float) -> float:
        """Replace gradients of parameters by their sums over all processes, and return the sum of ``value``."""
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
        """Whether ``here`` is true in all processes."""
        if self.count == 1:
            return here
        from accelerate.utils import reduce

        return int(reduce(torch.tensor(int(here), device=_state().device), "sum").item()) == self.count

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            _state().wait_for_everyone()


def _state() -> "PartialState":
    from accelerate import PartialState

    # Without a GPU, and without being told so, accelerate takes every process for the only one.
    return PartialState(cpu=not torch.cuda.is_available())


def launch(function: Callable[[], object], count: int) -> None:
    """Run a function in ``count`` processes, on a GPU each. No GPU may have been used before.

    Raises:
        CodekdError: the error of the process that failed.
    """
    from accelerate import notebook_launcher
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    failed = get_context("fork").SimpleQueue()

    def run() -> None:
        # Makes one of the GPUs the current one of this process, which is the device that is chosen later.
        _state()
        try:
            function()
        except CodekdError as error:
            failed.put(str(error))
            raise

    try:
        notebook_launcher(run, num_processes=count, use_port=str(port))
    except ChildFailedError:
        if failed.empty():
            raise
        raise CodekdError(failed.get()) from None
