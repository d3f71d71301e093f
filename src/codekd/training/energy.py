"""Energy that a machine uses, where it can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")


class Meter:
    """Meter of the joules used since it was made, by the CPU packages and the GPUs that this process sees.

    CPUs are read through Linux's powercap, which administrators must open to other users, and GPUs through NVML, where
    nvidia-ml-py is installed. The counters know no processes: whatever else runs on the machine is in them.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._counters = [*_cpus(powercap), *_gpus()]
        self._start = self._read()

    def joules(self) -> float | None:
        """Joules since the meter was made, or None where nothing can be read.

        The CPUs' counters start over after some minutes: ask more often.
        """
        return self._read() - self._start if self._counters else None

    def _read(self) -> float:
        return sum(counter() for counter in self._counters)


@dataclass
class _Package:
    """CPU's counter of microjoules, which starts over at ``limit``, read as joules."""

    file: Path
    limit: int
    last: int = 0
    total: int = 0

    def __call__(self) -> float:
        now = int(self.file.read_text())
        self.total += (now - self.last) % self.limit
        self.last = now
        return self.total / 1e6


def _cpus(powercap: Path) -> Iterator[Callable[[], float]]:
    # Only packages count: zones within them, such as cores, are part of theirs, and "psys" contains them.
    for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):
        try:
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                counter = _Package(zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()) + 1)
                counter()
                yield counter
        except OSError:
            continue


def _gpus() -> list[Callable[[], float]]:
    if not torch.cuda.is_available():
        return []
    try:
        import pynvml

        def counter(index: int) -> Callable[[], float]:
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
            return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3

        pynvml.nvmlInit()
        counters = [counter(index) for index in range(torch.cuda.device_count())]
        for one in counters:
            one()
        return counters
    except Exception:  # no nvidia-ml-py, or a GPU that does not count
        return []
