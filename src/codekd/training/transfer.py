"""What a student learns from: examples with what was captured of a teacher, over the units that both see."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from codekd.data.batches import Encoded, load_units
from codekd.data.rows import Captured, Ragged
from codekd.signals.base import Signal


def with_signals(
    data: Encoded,
    signals: Mapping[str, Captured],
    requests: Sequence[Signal],
    parents: Mapping[str, Path],
    splits: Sequence[str],
    unlabeled: int | None = None,
) -> Encoded:
    """Examples of some splits with their signals by kind, and with units where a signal has rows by unit.

    ``parents`` has the folders ``encoded`` and, for units of syntax, ``syntax``; there are the first
    ``unlabeled`` of the unlabelled examples, or all.
    """
    data = replace(data, signals=signals)
    unit = next((one.unit for one in requests if one.unit), None)
    if unit is None:
        return data
    units = load_units(unit, data, parents["encoded"], parents.get("syntax"), splits, unlabeled=unlabeled)
    for signal in signals.values():
        if isinstance(signal, Ragged):
            units = units.within(signal.first.ravel(), signal.count.ravel())
    return replace(data, units=units)
