"""Text of ``codekd plan``: the nodes of every stage, their estimated time, and the sizes of signals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from codekd.study.estimate import describe, gpu_hours, in_time, missing, wall_seconds
from codekd.study.graph import Graph, Node
from codekd.study.rates import WITH_BF16, measured
from codekd.study.sizes import in_bytes, signal_bytes, signal_examples
from codekd.study.text import Row, aligned


def plan_of(graph: Graph, results: Path, cores: int, gpu_tflops: float | None = None) -> str:
    """Plan of a study as aligned text: what is finished, and what is to make, how long that takes and how large it is.

    Args:
        graph: the study.
        results: the results folder.
        cores: CPU cores for which times are estimated.
        gpu_tflops: throughput that a GPU reaches, in 10^12 operations per second, to estimate its hours, too.
    """
    todo = missing(graph, results)
    tables = [_stages(graph, todo, results, cores), _signals(graph.stage("signals"), todo, results)]
    lines = [line for table in tables for line in (*aligned(table), "")]
    lines.append(f"{graph.report.coordinates[0]}: {describe(todo, cores, results)}")
    if gpu_tflops:
        hours = gpu_hours(todo, results, gpu_tflops * 1e12)
        lines.append(f"On GPUs that reach {gpu_tflops:g} TFLOP/s: about {hours:,.0f} hours of one GPU.")
    return "\n".join(lines)


def _stages(graph: Graph, todo: Sequence[Node], results: Path, cores: int) -> list[Row]:
    rows: list[Row] = [("stage", "nodes", "to make", "about")]
    rates = measured(results) or WITH_BF16
    for stage, count in Counter(node.stage for node in graph).items():
        nodes = [node for node in todo if node.stage == stage]
        time = in_time(wall_seconds(nodes, results, cores, rates)) if nodes else ""
        rows.append((stage, str(count), str(len(nodes)), time))
    return rows


def _signals(nodes: Sequence[Node], todo: Sequence[Node], results: Path) -> list[Row]:
    rows: list[Row] = [("signal", "examples", "an example", "all", "")]
    missing, total = {node.folder for node in todo}, 0
    for node in nodes:
        size, examples = signal_bytes(node, results), signal_examples(node, results)
        state = "to make" if node.folder in missing else "made"
        rows.append(("/".join(node.coordinates), f"{examples:,}", in_bytes(size / examples), in_bytes(size), state))
        total += size
    return [*rows, ("total", "", "", in_bytes(total), "")]
