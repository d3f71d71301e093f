"""The command ``codekd``: plan, inspect, compare and tidy studies, and export and use their students."""

import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from codekd.errors import CodekdError
from codekd.progress import track
from codekd.study import accept as acceptance
from codekd.study import diff as differences
from codekd.study import explain as explanations
from codekd.study import garbage, rates, verify
from codekd.study import status as states
from codekd.study.folders import node_folders, nodes_at
from codekd.study.graph import Graph
from codekd.study.lock import read_lock, resolve, unpinned, write_lock
from codekd.study.manifest import MANIFEST
from codekd.study.named import named
from codekd.study.plan import plan_of
from codekd.study.ran import records
from codekd.study.resolve import load_study, read_config
from codekd.study.schema import json_schema, reference

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
STDIN = Path("-")
Config = Annotated[Path, typer.Argument(help="The study's config file, or its name if it ran here.")]


@app.command()
def plan(
    config: Config = Path("config/config.yaml"),
    results: Path = Path("results"),
    cores: Annotated[int, typer.Option(min=1, help="How many are used.")] = os.cpu_count() or 1,
    gpu_tflops: Annotated[
        float | None, typer.Option(min=0, help="Throughput that a GPU reaches, in TFLOP/s, to estimate its hours.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train for ten seconds to see how fast a core is; later plans know it.")
    ] = False,
) -> None:
    """Print what a run would make, about how long that takes and how large the signals are."""
    with _plain_errors():
        if measure:
            rates.measure(results)
        typer.echo(plan_of(_graph(config, results), results, cores, gpu_tflops))


@app.command()
def report(config: Config = Path("config/config.yaml"), results: Path = Path("results")) -> None:
    """Print where the report of a study is, or will be."""
    with _plain_errors():
        typer.echo(results / _graph(config, results).report.folder / "index.html")


@app.command()
def schema(
    json_file: Annotated[Path, typer.Option(help="Where the JSON schema goes.")] = Path("config/schema.json"),
    page: Annotated[Path, typer.Option(help="Where the reference page goes.")] = Path("docs/config.md"),
) -> None:
    """Write the JSON schema of the config and its reference page from the models."""
    json_file.write_text(json.dumps(json_schema(), indent=1) + "\n")
    page.write_text(reference())


@app.command()
def explain(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Names of nodes begin with these; all by default.")
    ] = None,
    config: Annotated[Path, typer.Option(help="The study's config file.")] = Path("config/config.yaml"),
    results: Path = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say of each node that would run what changed, from what to what, and what it costs by earlier runs."""
    with _plain_errors():
        found = explanations.explain(_graph(config, results), results, targets or ())
        typer.echo(explanations.as_json(found) if as_json else explanations.as_text(found))


@app.command()
def path(
    names: Annotated[list[str], typer.Argument(help="What names of nodes begin with, or patterns of them.")],
    config: Annotated[Path, typer.Option(help="The study's config file.")] = Path("config/config.yaml"),
    results: Path = Path("results"),
    manifest: Annotated[bool, typer.Option("--manifest", help="The files to ask Snakemake for.")] = False,
) -> None:
    """Print the folders of nodes of a study, made or not."""
    with _plain_errors():
        for node in named(_graph(config, results), results, names):
            typer.echo(results / node.folder / MANIFEST if manifest else results / node.folder)


@app.command()
def lock(
    config: Config = Path("config/config.yaml"),
    update: Annotated[bool, typer.Option(help="Ask for newer commits of what is locked, too.")] = False,
) -> None:
    """Write the commits of what a config takes from the hub into a lock file beside it."""
    with _plain_errors():
        known = {} if update else read_lock(config)
        found = resolve(unpinned(_graph(config, Path("results"), known)))
        typer.echo(f"{write_lock(config, known | found)}: {len(found)} written, {len(known)} kept")


@app.command()
def status(config: Config = Path("config/config.yaml"), results: Path = Path("results")) -> None:
    """Print how far a study is. Exit code 0: all is done; 3: something failed; 4: something is still to make."""
    with _plain_errors():
        found = states.status_of([*_graph(config, results)], results)
        typer.echo(states.as_text(found))
    raise typer.Exit(states.exit_code(found))


@app.command("diff")
def compare(
    first: Annotated[Path, typer.Argument(help="A config file, or the folder of a node.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    results: Path = Path("results"),
) -> None:
    """Say in what two studies or two nodes differ: config, source and scores."""
    with _plain_errors():
        if first.is_dir() or second.is_dir():
            typer.echo(differences.of_nodes(first, second))
        else:
            typer.echo(differences.of_studies(_graph(first, results), _graph(second, results), results))


@app.command()
def accept(
    modules: Annotated[
        list[str], typer.Argument(help="Modules whose change has no effect, e.g. codekd.training.loop.")
    ],
    reason: Annotated[str, typer.Option(help="Why; kept in the manifests.")],
    by: Annotated[str, typer.Option(help="Who says so; your login by default.")] = "",
    config: Annotated[Path, typer.Option(help="The study's config file.")] = Path("config/config.yaml"),
    results: Path = Path("results"),
) -> None:
    """Take over what earlier source made, where only these modules changed since; the manifests say who said so."""
    with _plain_errors():
        declared = acceptance.Declaration(modules, by or getpass.getuser(), reason)
        accepted = acceptance.accept(_graph(config, results), results, declared)
        typer.echo(f"{len(accepted)} nodes taken over.")


@app.command()
def gc(
    configs: Annotated[list[Path], typer.Argument(help="Config files or names of the studies to keep.")],
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is found; without it nothing is.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Also what other studies need that ran with these results.")
    ] = False,
    results: Path = Path("results"),
) -> None:
    """List what neither some studies need, nor others that ran here, nor running ones use, or remove it."""
    with _plain_errors():
        if not results.is_dir():
            raise CodekdError(f"{results} is no folder: say where the results are by --results")
        graphs = [_graph(config, results) for config in configs]
        find = garbage.remove if delete else garbage.garbage
        found = find(results, graphs, forget)
        typer.echo(garbage.as_text(found, results, removed=delete))


@app.command("verify")
def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="Folders of nodes; all of the results by default.")] = None,
    results: Path = Path("results"),
) -> None:
    """Read everything again and name what is not as it was written."""
    with _plain_errors():
        folders = [one for path in paths for one in nodes_at(path)] if paths else [*node_folders(results)]
        found = [
            problem
            for folder in track(folders, description="verify", unit="node")
            for problem in verify.problems(folder)
        ]
        typer.echo("\n".join([*found, f"{len(folders)} folders verified, {len(found)} problems."]))
    raise typer.Exit(int(bool(found)))


@app.command("export")
def to_onnx(
    cell: Annotated[Path, typer.Argument(help="The folder of a student or of a fine-tuned teacher.")],
    out: Annotated[Path, typer.Option(help="Folder to write; by default export/ and the cell's coordinates.")] = Path(),
) -> None:
    """Write a model as ONNX, in eight bits too where they are faster and answer alike, and compare it with PyTorch."""
    from codekd.deploy.export import AGREEMENT, Cell, export
    from codekd.deploy.runtimes import MODEL, SMALL

    with _plain_errors():
        found = Cell.load(cell)
        target = out if out != Path() else Path("export", *found.manifest["coordinates"])
        measured = export(found, target)
        times = ", ".join(f"{name} {value:.2f} ms" for name, value in measured["milliseconds"].items())
        typer.echo(f"{target / MODEL}: logits as PyTorch's within {measured['largest_difference']:.1g}")
        busy = " The machine was busy: they are too many." if measured["busy"] else ""
        typer.echo(f"One example at a time on one CPU thread, once it is read: {times}.{busy}")
        slow = "" if measured["int8_faster"] else ", it is not faster here"
        wrong = "" if measured["int8_agreement"] >= AGREEMENT else f", less than {100 * AGREEMENT:g} %"
        kept = f"kept as {target / SMALL}" if measured["int8_kept"] else f"not kept{wrong}{slow}"
        typer.echo(f"int8 predicts the same for {100 * measured['int8_agreement']:.1f} % of the examples; {kept}.")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A folder that `codekd export` wrote, or that of a cell.")],
    files: Annotated[
        list[Path],
        typer.Argument(help="Source files, notebooks, folders of them, or tables of code; - is standard input."),
    ],
    language: Annotated[
        str | None,
        typer.Option(
            help="python, c, cpp, java, javascript, typescript, tsx or go; by default what a file's name says."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only what gets this label, such as clone.")] = None,
    min_probability: Annotated[float, typer.Option(min=0, max=1, help="Only labels at least so probable.")] = 0.0,
    whole: Annotated[bool, typer.Option("--whole", help="Label each file and no functions.")] = False,
    code: Annotated[
        list[str] | None, typer.Option(help="Column of a table with code; twice for pairs. By default the task's.")
    ] = None,
) -> None:
    """Label the functions of source files, or pairs of them where the task is about pairs: JSON lines.

    Of more than 447 functions not all pairs are printed: say which by --label or --min-probability. The rows of tables
    (JSON Lines, CSV, Parquet) are labelled as they are. What cannot be labelled has an error in the place of a label;
    exit code 1 where nothing could be.
    """
    from codekd.data.readers import rows_of
    from codekd.data.sources import format_of
    from codekd.deploy.predict import Labeller, Wanted
    from codekd.deploy.sources import read_source, sources_in

    with _plain_errors():
        labeller, wanted = Labeller.load(model), Wanted(label, min_probability)
        tables = [file for file in files if format_of(file.name)]
        sources = [file for file in files if file not in tables]
        read = (
            one
            for file in sources_in(sources)
            for one in read_source(
                sys.stdin.buffer.read() if file == STDIN else file.read_bytes(), str(file), language, whole
            )
        )
        rows = rows_of(tables, code or labeller.spec["columns"])
        asked, failed = 0, 0
        for record in chain(labeller.label(read, wanted), labeller.label_rows(rows, code or (), wanted)):
            asked, failed = asked + 1, failed + ("error" in record)
            typer.echo(json.dumps(record, ensure_ascii=False))
    raise typer.Exit(int(0 < asked == failed))


@app.command("recommend")
def recommended(
    study: Annotated[Path, typer.Argument(help="The study's config file, or the folder of its report.")],
    max_latency_ms: Annotated[float | None, typer.Option(min=0, help="From code to answer, one CPU thread.")] = None,
    max_mb: Annotated[float | None, typer.Option(min=0, help="Of model.onnx.")] = None,
    min_retention: Annotated[float | None, typer.Option(min=0, help="Percent of the teacher's score on valid.")] = None,
    results: Path = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Name the best student within limits for every task, and why; exit code 1 where there is none."""
    from codekd.deploy.recommend import Limits, recommend

    with _plain_errors():
        folder = study if study.is_dir() else results / _graph(study, results).report.folder
        retention = None if min_retention is None else min_retention / 100
        found = list(recommend(folder, Limits(max_latency_ms, max_mb, retention)))
        if as_json:
            typer.echo(json.dumps([one.record() for one in found], indent=1))
        else:
            typer.echo("\n".join(f"{one.task}: {one.why}" + (f"\n  {one.cell}" if one.cell else "") for one in found))
    raise typer.Exit(int(any(one.cell is None for one in found)))


def _graph(config: Path, results: Path, lock: Mapping[str, str] | None = None) -> Graph:
    """Graph of the study of a config file, or of a study given by its name, as it ran last."""
    if not config.exists():
        ran = records(results)
        for one in ran:
            if one.name == str(config):
                return Graph(load_study(one.config, list(map(Path, one.files)), lock), results)
        names = ", ".join(dict.fromkeys(one.name for one in ran)) or "none"
        raise CodekdError(f"{config} is no config file, and no study that ran here (those are: {names})")
    return Graph(load_study(read_config(config), [config], lock), results)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print an expected error as one paragraph without a traceback, and exit with code 1."""
    try:
        yield
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (CodekdError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
