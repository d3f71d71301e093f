"""Logits of an ensemble: the logarithm of the weighted mean of its members' probabilities.

How confident a member is depends on its training and not on how good it is. So each member's logits are first
multiplied by the factor with the least cross-entropy on the validation split. The mean is that of probabilities, as of
Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", arXiv 1612.01474,
section 2.4: in a mean of log-probabilities a member that rules a class out rules it out for all. Weights that are
chosen on validation have the least cross-entropy there too, which has one minimum in them: the "stacking" of Yao et
al., arXiv 1704.02030. The test split decides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from codekd.data.batches import Encoded, Rows, load_encoded
from codekd.data.labels import UNLABELLED
from codekd.data.rows import Captured, Fixed
from codekd.models.device import CPU, Device
from codekd.signals.calibration import Logits, log_probabilities, scale_of
from codekd.signals.format import read_signal

if TYPE_CHECKING:
    from codekd.signals.base import Signal
    from codekd.study.job import Job

MEMBERS = "members/"
"""Prefix of the members' logits in the roles of a job's parents."""

ROUNDS = 500
"""Largest number of iterations of expectation maximisation."""


@dataclass(frozen=True)
class Pool:
    """Factor of each member's logits, and weight of each member, by name; weights sum to 1."""

    scales: Mapping[str, float]
    weights: Mapping[str, float]

    @classmethod
    def fit(cls, job: "Job") -> "Pool":
        """Fit the ensemble that a job's spec and members define; only the validation split is read."""
        names, given = job.spec["members"], job.spec["weights"]
        valid = load_encoded(job.parents["encoded"], ["valid"])
        logits = {name: member_logits(job, name, ["valid"], valid.ids) for name in names}
        scales = {name: scale_of(one, valid.labels) for name, one in logits.items()}
        if given == "validation":
            rows = np.stack([log_probabilities(logits[name], scales[name]) for name in names])
            weights = best_weights(rows, valid.labels)
        else:
            numbers = np.ones(len(names)) if given is None else np.array(given)
            weights = numbers / numbers.sum()
        return cls(scales, dict(zip(names, weights.tolist(), strict=True)))

    def logits(self, members: Mapping[str, NDArray[np.floating]]) -> Logits:
        """Log-probabilities ``(examples, classes)`` of all members together, from each one's logits."""
        rows = np.stack([log_probabilities(members[name], scale) for name, scale in self.scales.items()])
        weights = np.array([self.weights[name] for name in self.scales])[:, None, None]
        return logsumexp(rows, axis=0, b=weights)


def best_weights(members: Logits, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weights ``(members,)`` of a mean of probabilities that has the least cross-entropy with the labels.

    They are found by expectation maximisation from equal weights, which remain where no example has a label.

    Args:
        members: log-probabilities ``(members, examples, classes)``.
        labels: ``(examples,)``, -1 for an unknown one, which does not count.
    """
    known = np.flatnonzero(labels != UNLABELLED)
    weights = np.full(len(members), 1 / len(members))
    if not len(known):
        return weights
    found = members[:, known, labels[known]]
    likelihood = np.exp(found - found.max(0))
    for _ in range(ROUNDS):
        shares = weights[:, None] * likelihood
        moved = (shares / shares.sum(0)).mean(1)
        if np.abs(moved - weights).max() < 1e-6:
            break
        weights = moved
    return moved


def member_logits(job: "Job", name: str, splits: Sequence[str], ids: Sequence[str]) -> NDArray[np.float32]:
    """Captured logits of a member, ``(examples, classes)`` float32, for the examples ``ids`` of some splits."""
    return read_signal(job.parents[f"{MEMBERS}{name}"], splits, "logits", ids).values.astype(np.float32)


@dataclass(frozen=True)
class Teacher:
    """Ensemble whose members were captured; only the mean of their logits is computed."""

    job: "Job"
    encoded: Path
    device: Device
    pool: Pool

    @classmethod
    def load(cls, jobs: "Sequence[Job]") -> "Teacher":
        """Load the ensemble of one job; parents are ``members/NAME`` and, for ids and labels, ``encoded``."""
        [job] = jobs
        return cls(job, job.parents["encoded"], CPU, Pool.fit(job))

    def describe(self, signal: "Signal") -> dict[str, str]:
        """Device and precision for the manifest, the same for every ``signal``."""
        return self.device.describe()

    def signals(
        self, wanted: Sequence[Any], split: str, shard: int, rows: Rows | None = None
    ) -> tuple[Encoded, list[Captured]]:
        """Examples of a shard, and the ensemble's logits ``(rows, classes)`` float32 of all or some of them."""
        data = load_encoded(self.encoded, [split], shard)
        ids = data.ids if rows is None else [data.ids[row] for row in rows]
        members = {name: member_logits(self.job, name, [split], ids) for name in self.pool.scales}
        logits = self.pool.logits(members).astype(np.float32)
        return data, [Fixed(logits) for _ in wanted]
