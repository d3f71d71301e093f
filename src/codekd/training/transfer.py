"""Examples that a student learns from, with the signals captured of a teacher and the units that both models see."""

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
    """Add signals to the examples of some splits, and units where a signal has rows by unit.

    Args:
        data: encoded examples.
        signals: captured rows in the order of ``data``, by kind.
        requests: settings of the signals.
        parents: folders ``encoded`` and, for units of syntax, ``syntax``.
        splits: splits that ``data`` was read from.
        unlabeled: number of unlabelled examples in ``data``, the first ones; None for all.
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
