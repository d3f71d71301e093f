"""What a study is about to do and roughly how long it takes, said before it starts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from codekd.study import components
from codekd.study.graph import MANIFEST, Graph, Node

FLOPS_PER_SECOND = 1.4e11
"""What training sustains on one CPU core with bf16 units; others reach a third of it."""

TOKENS = 110
"""Mean length of a sequence of the embedded tasks, where the window is long enough."""

EXAMPLES = {"train": 8000, "valid": 1200, "test": 2500, "unlabeled": 16000}
"""Sizes of the embedded tasks, where the config sets no limit."""

TEACHER_WEIGHTS = 10.6e6
"""Weights of MiniLM that every token goes through."""

SECONDS = {"floors": 5, "tokenizers": 5, "encoded": 8, "syntax": 15, "pretrained": 10, "report": 8}
"""Of whole stages."""

SECONDS_PER_WHEEL = 0.6
"""Of reading a wheel, and again of making examples of it."""

START = 8
"""Seconds until a process has imported torch and transformers."""


def missing(graph: Graph, results: Path) -> list[Node]:
    """The nodes that have no output yet."""
    return [node for node in graph if not (results / node.folder / MANIFEST).exists()]


def seconds(node: Node) -> float:
    """Time of one core for a node."""
    if node.stage in SECONDS:
        return SECONDS[node.stage]
    if node.stage == "corpus":
        return SECONDS_PER_WHEEL * len(node.spec["wheels"])
    if node.stage == "examples":
        return sum(map(seconds, node.parents.values()))
    sizes = _sizes(node)
    tokens = min(TOKENS, node.parents["encoded"].spec["max_length"])
    if node.stage == "signals":
        return START + _forward(sum(sizes.values()) * tokens, TEACHER_WEIGHTS)
    epochs = node.spec["training"]["epochs"]
    if node.stage == "teachers":
        return (
            START
            + 3 * epochs * _forward(sizes["train"] * tokens, TEACHER_WEIGHTS)
            + _forward(epochs * sizes["valid"] * tokens, TEACHER_WEIGHTS)
        )
    weights = components.parse("students", node.spec["architecture"]).weights_per_token()
    both = node.spec["method"]["transfer"] == "all"
    seen = epochs * (sizes["train"] + both * sizes["unlabeled"])
    return START + 3 * _forward(seen * tokens, weights) + _forward(epochs * sizes["valid"] * tokens, weights)


def describe(nodes: Sequence[Node], cores: int) -> str:
    """A sentence such as ``18 students, 3 teachers to make: about 35 min on 2 cores``."""
    counts = Counter(node.stage for node in nodes)
    what = ", ".join(f"{count} {stage}" for stage, count in counts.items())
    minutes = sum(map(seconds, nodes)) / 60 / cores
    length = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"{len(nodes)} nodes to make ({what}): about {length} on {cores} CPU cores that have bf16 units."


def _forward(tokens: int, weights: float) -> float:
    return 2 * tokens * weights / FLOPS_PER_SECOND


def _sizes(node: Node) -> dict[str, int]:
    limits = node.parents["encoded"].parents["examples"].spec["task"]["examples"]
    return {split: min(limits[split] or size, size) for split, size in EXAMPLES.items()}
