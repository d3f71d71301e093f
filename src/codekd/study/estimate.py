"""Estimates, before a study runs, of what it is going to make and how long that takes."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from codekd.models.teachers.base import Adaptation
from codekd.study import components
from codekd.study.graph import ONE_PASS, RUN_A_MODEL, Node
from codekd.study.manifest import MANIFEST
from codekd.study.rates import WITH_BF16, WITHOUT, Rates, measured
from codekd.study.sizes import TOKENS, in_bytes, read_sizes, signal_bytes
from codekd.study.training import Training

FASTER_IN_BF16 = 1.9
"""Speed-up by bf16 units of capturing the logits of unlabelled examples of which nothing else is captured."""

SECONDS = {
    "floors": 5,
    "tokenizers": 5,
    "windows": 20,
    "encoded": 8,
    "syntax": 15,
    "pretrained": 10,
    "verified": 12,
    "selected": 1,
    "inference": 13,
    "report": 8,
}
"""Seconds of one core for a node, by its stage, where that is taken to be the same for all nodes."""

WITHOUT_A_PASS = {"ngrams": 6, "ensemble": 1}
"""Seconds of one core for a capture that runs no model, by the module that captures."""

SECONDS_PER_WHEEL = 0.6
"""Seconds of one core to read a wheel, and as many to make examples of it."""


FUNCTIONS = 164_000
"""Distinct functions in the train packages of the embedded corpus."""

START = 4
"""Seconds that a process takes to import torch and transformers."""


def missing(nodes: Iterable[Node], results: Path) -> list[Node]:
    """Nodes that are not finished, in the order given."""
    return [node for node in nodes if not (results / node.folder / MANIFEST).exists()]


def seconds(node: Node, results: Path, rates: Rates = WITH_BF16) -> float:
    """Estimated seconds of one CPU core for a node."""
    if node.stage in SECONDS:
        return SECONDS[node.stage]
    if node.stage == "signals" and node.spec["by"] in WITHOUT_A_PASS:
        return START + WITHOUT_A_PASS[node.spec["by"]]
    if node.stage == "corpus":
        return SECONDS_PER_WHEEL * len(node.spec["wheels"])
    if node.stage == "examples":
        return sum(seconds(corpus, results) for corpus in node.parents.values())
    return START + flops(node, results) / _rate(node, results, rates)


def flops(node: Node, results: Path) -> float:
    """Estimated floating-point operations of a node, 0 where no model runs.

    A model takes two for each weight and token, and three times as many where it is trained.
    """
    if node.stage == "adapted":
        settings = Adaptation.model_validate(node.spec["adaptation"])
        tokens = min(settings.max_length, TOKENS[1]) * (settings.functions or FUNCTIONS)
        return 2 * _encoder_weights(node) * 3 * settings.training.epochs * tokens
    if node.spec.get("by") in WITHOUT_A_PASS:
        return 0
    if "encoded" not in node.parents:
        return 0
    sizes = read_sizes(node, results)
    if node.stage == "starts":
        weights = components.parse("students", node.spec["architecture"]).weights_per_token()
        epochs = components.parse("starts", node.spec["start"]).training.epochs
        return 2 * weights * epochs * (3 * sizes["unlabeled"].tokens + 2 * sizes["valid"].tokens)
    if node.stage == "signals":
        weights = _encoder_weights(node.parents.get("teacher", node).parents["pretrained"])
        return 2 * weights * sum(size.tokens for size in sizes.values())
    if "training" not in node.spec:
        return 0
    seen, tested = sizes["train"].tokens, sizes["test"].tokens
    if node.stage == "teachers":
        weights = _encoder_weights(node.parents["pretrained"])
    else:
        weights = components.parse("students", node.spec["architecture"]).weights_per_token()
        method = components.parse("methods", node.spec["method"])
        if method.repeats_labelled:
            seen += seen * sizes["unlabeled"].examples // max(1, sizes["train"].examples)
        seen += (method.transfer == "all") * sizes["unlabeled"].tokens
        tested *= node.stage == "students"
    epochs = Training.model_validate(node.spec["training"]).epochs
    return 2 * weights * (epochs * (3 * seen + sizes["valid"].tokens) + tested)


def gpu_hours(nodes: Iterable[Node], results: Path, throughput: float) -> float:
    """Estimated hours of one GPU for the nodes in which a model runs.

    Args:
        nodes: the nodes to make; those in which no model runs do not count.
        results: the results folder.
        throughput: floating-point operations per second that the GPU reaches.
    """
    work = [node for node in nodes if node.stage in RUN_A_MODEL]
    return _once_a_pass(work, lambda node: START + flops(node, results) / throughput) / 3600


def _rate(node: Node, results: Path, rates: Rates) -> float:
    if node.stage == "signals":
        if node.spec["signal"]["kind"] != "logits" or rates.transformers == rates.float32:
            return rates.float32
        sizes = read_sizes(node, results)
        faster = sizes["unlabeled"].tokens / max(1, sum(size.tokens for size in sizes.values()))
        return rates.float32 / (1 - faster + faster / FASTER_IN_BF16)
    if "architecture" in node.spec and components.parse("students", node.spec["architecture"]).recurrent is not False:
        return rates.float32
    return rates.transformers


def _once_a_pass(nodes: Iterable[Node], cost: Callable[[Node], float]) -> float:
    """Total cost of nodes, where those that one pass of a teacher makes cost together what the dearest of them does."""
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for node in nodes:
        key = (node.stage, node.coordinates[:2] if node.stage in ONE_PASS else node.coordinates)
        found[key] = max(found.get(key, 0.0), cost(node))
    return sum(found.values())


def total_seconds(nodes: Iterable[Node], results: Path, rates: Rates = WITH_BF16) -> float:
    """Estimated seconds of one CPU core for some nodes; those that one pass of a teacher makes count once."""
    return _once_a_pass(nodes, lambda node: seconds(node, results, rates))


def wall_seconds(nodes: Iterable[Node], results: Path, cores: float, rates: Rates = WITH_BF16) -> float:
    """Estimated wall-clock seconds for nodes on a number of CPU cores.

    Those of stage `inference` run one after another on one core, with nothing else beside them.
    """
    nodes = list(nodes)
    alone = total_seconds([node for node in nodes if node.stage == "inference"], results, rates)
    return alone + (total_seconds(nodes, results, rates) - alone) / cores


def describe(nodes: Sequence[Node], cores: int, results: Path) -> str:
    """Sentence about nodes to make: how many in each stage, the estimated time on some cores, and the size of signals.

    Such as ``4 nodes to make (3 signals, 1 report): about 5 min on 2 CPU cores that have bf16 units, 9 min on others,
    and 2.1 GB of signals.``, or ``about 7 min on 2 cores of this machine`` where that was measured.
    """
    if not nodes:
        return "nothing to make."
    counts = Counter(node.stage for node in nodes)
    what = ", ".join(f"{count} {stage}" for stage, count in counts.items())
    text = f"{len(nodes)} nodes to make ({what}): about "
    if here := measured(results):
        text += f"{in_time(wall_seconds(nodes, results, cores, here))} on {cores} CPU cores of this machine"
    else:
        length, longer = (in_time(wall_seconds(nodes, results, cores, rates)) for rates in (WITH_BF16, WITHOUT))
        text += f"{length} on {cores} CPU cores that have bf16 units"
        text += f", {longer} on others" if longer != length else ""
    captured = sum(signal_bytes(node, results) for node in nodes if node.stage == "signals")
    return f"{text}, and {in_bytes(captured)} of signals." if captured else f"{text}."


def in_time(seconds: float) -> str:
    """Duration as text: ``15 s``, ``35 min``, ``6 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def _encoder_weights(pretrained: Node) -> float:
    """Weights for every token of an encoder: projections of attention, and a feed-forward layer four times as wide."""
    return 12 * pretrained.spec["layers"] * pretrained.spec["width"] ** 2
