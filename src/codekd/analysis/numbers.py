"""Formatting of numbers and names of metrics in tables, figures and sentences."""

_METRICS = {"f1": "F1", "macro_f1": "macro-F1"}


def metric_name(metric: str) -> str:
    """Display name of a metric, such as ``macro-F1``."""
    return _METRICS.get(metric, metric)


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage with one decimal: ``57.4``."""
    return _signless_zero(f"{100 * share:.1f}").replace("-", "−")


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign: ``+1.2``."""
    return _signless_zero(f"{100 * difference:+.1f}").replace("-", "−")


def share(value: float | None) -> str:
    """A share in [0, 1] as a percentage, or a dash for None."""
    return "–" if value is None else percent(value)


def p(value: float | None) -> str:
    """A p-value to two digits, ``0.032`` or ``< 0.001``, or a dash for None."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.2g}"


def size(parameters: float) -> str:
    """A number of parameters to two or three digits: ``1.5M``, ``23M``, ``850k``."""
    value, unit = (parameters / 1e6, "M") if parameters >= 999_500 else (parameters / 1e3, "k")
    return f"{value:.1f}".removesuffix(".0") + unit if value < 10 else f"{value:.0f}{unit}"


def ratio(value: float) -> str:
    """A ratio to two decimals below 10 and none above: ``1.05×``, ``12×``."""
    return f"{value:.2f}×" if value < 10 else f"{value:.0f}×"


def duration(seconds: float) -> str:
    """Seconds as a duration: ``47 s``, ``12 min``, ``3.4 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _signless_zero(text: str) -> str:
    return "0.0" if text in ("-0.0", "+0.0") else text
