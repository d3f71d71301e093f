"""Error rates of the report's tests, by simulation: python benchmarks/intervals.py [--studies 4000] [RESULTS...]

Two methods are compared on test splits like the real ones, many times: 13 packages of unequal size, whose examples are
alike in difficulty and in how they respond to a method, and seeds that make a run as a whole better or worse. For every
number of seeds and every standard deviation over seeds it prints how often equal methods are called different, how
often a true difference is found, how often 95 % intervals cover it, and half the length of an interval; then how often
equal methods are called different in harder designs. docs/statistics.md has the figures.

Given folders such as ``results/students/exception/*/bigru-1.5m/{ft,kd}`` of a finished study with several seeds, it
prints statistics of those runs beside those of simulated ones.

Arrays: ``right`` ``(2, seeds, examples)`` says whether the runs of two methods are right on each test example, and
``packages`` ``(examples,)`` holds the index of each example's package.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from codekd.analysis.variance import Units, sample

SEEDS, SPREADS, GAINS = (3, 5), (0.0, 0.5, 1.0, 2.0), (0.0, 1.0, 2.0, 3.0)
LEVEL = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Design of a simulated test split, in which an example is right if its score is positive.

    The score is a sum of normal variables with a total variance of 1 and a mean that gives the ``accuracy``. ``sizes``
    are the examples of each package. Shares of the variance: ``package``; ``package_by_method``, how a package responds
    to a method; ``example_by_method``, how an example does; ``example_by_seed``, how an example responds to a seed; the
    rest is the example's own. ``positives`` is the mean share of the second of two classes; in a package it is anything
    from none to twice as many.
    """

    sizes: tuple[int, ...]
    accuracy: float = 0.57
    package: float = 0.10
    package_by_method: float = 0.004
    example_by_method: float = 0.08
    example_by_seed: float = 0.11
    positives: float = 0.5

    @property
    def packages(self) -> NDArray[np.int64]:
        """Index of each example's package, ``(examples,)``."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def cut(self) -> float:
        """Mean of the scores, at which their share above 0 is the accuracy."""
        return float(stats.norm.ppf(self.accuracy))

    def points(self, difference: float) -> float:
        """Difference of scores for a difference of mean accuracy in points, to first order."""
        return difference / 100 / float(stats.norm.pdf(self.cut))


# With these shares simulated runs have statistics like those of bigru-1.5m on exceptions, see `likeness`.
REAL = Design(sizes=(503, 330, 270, 230, 200, 180, 160, 140, 130, 110, 100, 90, 73))

HARDER = {
    "packages take to methods eight times as much": (replace(REAL, package_by_method=0.03), "accuracy"),
    "8 packages": (replace(REAL, sizes=REAL.sizes[:8]), "accuracy"),
    "one package of a fifth, 40 small ones": (replace(REAL, sizes=(500, *[50] * 40)), "accuracy"),
    "accuracy 90 %": (replace(REAL, accuracy=0.9), "accuracy"),
    "F1, half positive": (REAL, "f1"),
    "F1, a tenth positive": (replace(REAL, positives=0.1), "f1"),
    "F1, a tenth positive, packages take to methods": (replace(REAL, positives=0.1, package_by_method=0.03), "f1"),
}
"""Designs and metrics that a reviewer may doubt, by name."""


def runs(design: Design, seeds: int, spread: float, gain: float, draw: np.random.Generator) -> Floats:
    """Simulated runs of two methods: whether they are right, ``(2, seeds, examples)``.

    Args:
        design: the test split.
        seeds: runs of each method.
        spread: standard deviation of the accuracy over seeds, in points.
        gain: accuracy by which the first method is better, in points.
        draw: source of random numbers.
    """
    packages, count = design.packages, len(design.sizes)
    own = 1 - design.package - design.package_by_method - design.example_by_method - design.example_by_seed

    def normal(variance: float, size: int) -> Floats:
        return np.sqrt(variance) * draw.standard_normal(size)

    shared = design.cut + normal(own, len(packages)) + normal(design.package, count)[packages]
    right = np.empty((2, seeds, len(packages)), dtype=bool)
    for method in range(2):
        of_method = normal(design.package_by_method, count)[packages] + normal(design.example_by_method, len(packages))
        for seed in range(seeds):
            luck = design.points(spread) * draw.standard_normal() + design.points(gain) * (method == 0)
            right[method, seed] = shared + of_method + luck + normal(design.example_by_seed, len(packages)) > 0
    return right


def true_difference(design: Design, spread: float, gain: float) -> float:
    """Expected difference of the methods' accuracy over packages and seeds, as a share; arguments as of ``runs``."""
    scale = np.sqrt(1 + design.points(spread) ** 2)
    better, worse = ((design.cut + design.points(one)) / scale for one in (gain, 0.0))
    return float(stats.norm.cdf(better) - stats.norm.cdf(worse))


def studied(right: Floats, design: Design, metric: str, draw: np.random.Generator) -> tuple[float, ...]:
    """P-value, and both ends of the interval, that a report gives for the difference of two methods' scores.

    Args:
        right: whether the runs are right, ``(2, seeds, examples)``.
        design: the test split.
        metric: ``accuracy`` or ``f1``.
        draw: source of the random labels.
    """
    seeds, examples = right.shape[1:]
    packages = design.packages
    positive = draw.uniform(0, 2 * design.positives, size=len(design.sizes))[packages]
    labels = (draw.random(examples) < positive).astype(int)
    predictions = np.where(right, labels, 1 - labels).reshape(2 * seeds, examples)
    found = sample(metric, labels, predictions, Units.of(packages))
    difference = found.estimate(range(seeds)) - found.estimate(range(seeds, 2 * seeds))
    p_value = difference.p_value()
    assert p_value is not None
    return p_value, *difference.interval()


def rates(
    design: Design, studies: int, seeds: int, spread: float, gain: float, metric: str = "accuracy", number: int = 0
) -> tuple[float, float, float]:
    """Share of studies that call the methods different, share that cover the true difference, and mean half width.

    Args:
        design: the test split.
        studies: number of simulated studies.
        seeds: runs of each method.
        spread: standard deviation of the accuracy over seeds, in points.
        gain: accuracy by which the first method is better, in points.
        metric: ``accuracy`` or ``f1``.
        number: another number gives other random studies.
    """
    draw = np.random.default_rng([seeds, int(10 * spread), int(10 * gain), number])
    truth = true_difference(design, spread, gain)
    results = (studied(runs(design, seeds, spread, gain, draw), design, metric, draw) for _ in range(studies))
    found = np.array(list(results))
    covered = (found[:, 1] <= truth) & (truth <= found[:, 2])
    return float((found[:, 0] < LEVEL).mean()), float(covered.mean()), float((found[:, 2] - found[:, 1]).mean() / 2)


def likeness(right: Floats, packages: NDArray[np.int64]) -> str:
    """Statistics of runs ``(2, seeds, examples)`` as text: how often they are right and differ, and correlations."""
    first, second = right.astype(float)
    seeds = np.mean([np.mean(one[0] != one[1]) for one in (first, second)])
    return (
        f"right {right.mean():.3f}, correlation within packages {correlation(right.mean(axis=(0, 1)), packages):.3f}; "
        f"seeds differ on {seeds:.3f}, methods on {np.mean(first[0] != second[0]):.3f}; SD over seeds "
        f"{100 * np.std(right.mean(axis=2), axis=1, ddof=1).mean():.2f} points; correlation of the methods' difference "
        f"within packages {correlation(first.mean(axis=0) - second.mean(axis=0), packages):.4f}"
    )


def correlation(values: Floats, packages: NDArray[np.int64]) -> float:
    """Intraclass correlation of values ``(examples,)``, by analysis of variance (Donner 1986, equation 2.1)."""
    sizes = np.bincount(packages)
    means = np.bincount(packages, weights=values) / sizes
    within = ((values - means[packages]) ** 2).sum() / (len(values) - len(sizes))
    between = (sizes * (means - values.mean()) ** 2).sum() / (len(sizes) - 1)
    typical = (len(values) - (sizes**2).sum() / len(values)) / (len(sizes) - 1)
    return float((between - within) / (between + (typical - 1) * within))


def read(methods: Sequence[Path], results: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Whether the runs in two methods' folders are right, ``(2, seeds, examples)``, and each example's package."""
    frames = [[pl.read_parquet(path) for path in sorted(one.glob("*/predictions.parquet"))] for one in methods]
    task = methods[0].relative_to(results).parts[1]
    manifest = json.loads(next(methods[0].glob("*/manifest.json")).read_text())
    [encoded] = results.glob(f"encoded/{task}/*-{manifest['parents']['encoded']}/manifest.json")
    examples = json.loads(encoded.read_text())["parents"]["examples"]
    groups = pl.read_parquet(results / f"examples/{task}-{examples}/test.parquet", columns=["id", "group"])
    packages = frames[0][0].join(groups, "id", maintain_order="left")["group"].rank("dense").to_numpy() - 1
    right = [[(frame["label"] == frame["prediction"]).to_numpy() for frame in one] for one in frames]
    return np.array(right), packages.astype(np.int64)


def table(studies: int) -> Iterator[str]:
    """Rates at which differences are found and covered, as rows of a Markdown table."""
    yield (
        "| seeds | SD over seeds | equal methods called different | "
        + "".join(f"found of {gain:g} points | " for gain in GAINS[1:])
        + "half an interval |"
    )
    yield "|---" * (len(GAINS) + 3) + "|"
    for seeds, spread in itertools.product(SEEDS, SPREADS):
        found = [rates(REAL, studies, seeds, spread, gain) for gain in GAINS]
        cells = [f"{100 * found[0][0]:.1f} %", *(f"{100 * one[0]:.0f} % ({100 * one[1]:.1f})" for one in found[1:])]
        yield f"| {seeds} | {spread:g} | {' | '.join(cells)} | {100 * found[0][2]:.1f} |"


def harder(studies: int) -> Iterator[str]:
    """Rates at which equal methods are called different in harder designs, as rows of a Markdown table."""
    yield "| design | " + "".join(f"{seeds} seeds, SD {spread:g} | " for seeds in SEEDS for spread in (0, 1))
    yield "|---" * (2 * len(SEEDS) + 1) + "|"
    for name, (design, metric) in HARDER.items():
        found = [rates(design, studies, seeds, spread, 0.0, metric)[0] for seeds in SEEDS for spread in (0.0, 1.0)]
        yield f"| {name} | {' | '.join(f'{100 * one:.1f} %' for one in found)} |"


def main() -> None:
    """Print the tables, or statistics of real and simulated runs if folders are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000, help="simulated studies a cell of the table")
    parser.add_argument("methods", nargs="*", type=Path, help="folders of two methods of a finished study")
    arguments = parser.parse_args()
    if arguments.methods:
        results = next(parent for parent in arguments.methods[0].parents if parent.name == "students").parent
        print("real:", likeness(*read(arguments.methods, results)))
        simulated = [runs(REAL, 3, 0.5, 0.0, np.random.default_rng(seed)) for seed in range(5)]
        print(*(f"simulated: {likeness(right, REAL.packages)}" for right in simulated), sep="\n")
        return
    print("\n".join(table(arguments.studies)), end="\n\n")
    print("\n".join(harder(arguments.studies)))


if __name__ == "__main__":
    main()
