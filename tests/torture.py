"""The long tests, as a table of what was tried and what was wrong: ``make torture``."""

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from crashes import Victim, undisturbed

from codekd.study.folders import node_folders
from codekd.study.verify import problems

TESTS = Path(__file__).parent
Row = tuple[str, int, str, int]
BATCH = 500


def main(
    only: Annotated[list[str] | None, typer.Option(help="Sections; all by default.")] = None,
    kills: Annotated[int, typer.Option(help="Processes to kill.")] = 200,
    sequences: Annotated[int, typer.Option(help="Random sequences of edits.")] = 2000,
    flips: Annotated[int, typer.Option(help="Bits to flip.")] = 500,
    minutes: Annotated[float, typer.Option(help="How long to fuzz.")] = 60,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Run them; exit code 1 where something was wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sections: dict[str, Callable[[], list[Row]]] = {
            "edits": lambda: [tests_of("edits", "wrong sets", "test_edits.py")],
            "sequences": lambda: [random_edits(sequences)],
            "kills": lambda: killed(folder / "study", kills, seed),
            "flips": lambda: [flipped(folder / "study", flips, seed)],
            "fuzz": lambda: [fuzzed(minutes)],
            "hostile": lambda: [tests_of("hostile inputs", "succeeded", "test_hostile.py")],
        }
        wrong = 0
        for name, section in sections.items():
            if only and name not in only:
                continue
            started = time.monotonic()
            for what, tried, failure, failures in section():
                wrong += failures
                typer.echo(f"{what} tried: {tried}, {failure}: {failures} ({time.monotonic() - started:.0f} s)")
    raise typer.Exit(int(bool(wrong)))


def tests_of(what: str, failure: str, *files: str) -> Row:
    """Cases of parametrised tests, and how many failed."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"--junit-xml={report.name}",
            *(str(TESTS / one) for one in files),
        ]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        [found] = re.findall(r"<testsuite [^>]*>", Path(report.name).read_text())
    tried, errors, failures = (int(re.findall(rf' {key}="(\d+)"', found)[0]) for key in ("tests", "errors", "failures"))
    return what, tried, failure, errors + failures


def random_edits(sequences: int) -> Row:
    """Random sequences of edits of a config; Hypothesis stops at the first that is wrong."""
    from test_random_edits import compare

    wrong = 0
    try:
        compare(sequences)
    except AssertionError as error:
        typer.echo(str(error), err=True)
        wrong = 1
    return "random sequences", sequences, "wrong sets", wrong


def fuzzed(minutes: float) -> Row:
    """Damaged configs, wheels and sources, in turns until the time is up."""
    from test_fuzz import INPUTS, fuzz

    until, tried, crashes = time.monotonic() + 60 * minutes, 0, 0
    while time.monotonic() < until:
        for check in INPUTS:
            try:
                fuzz(check, BATCH, database=None)
            except Exception as error:
                crashes += 1
                typer.echo(f"{check.__name__}: {error!r}\n{getattr(error, '__notes__', '')}", err=True)
            tried += BATCH
    return "damaged inputs", tried, "crashes", crashes


def killed(folder: Path, kills: int, seed: int) -> list[Row]:
    """A study that is killed again and again, whatever stage it is in."""
    victim = Victim(folder, seed)
    found = victim.disturb(kills)
    for problem in (*found.differing, *found.computed_twice):
        typer.echo(problem, err=True)
    what = f"kills ({found.of_master} of the master, {found.studies} studies)"
    return [
        (what, found.kills, "differing results", len(found.differing)),
        (what, found.kills, "stages computed twice", len(found.computed_twice)),
    ]


def flipped(folder: Path, flips: int, seed: int) -> Row:
    """One bit of one file of a finished study at a time, anywhere."""
    if not folder.exists():
        undisturbed(Victim(folder, seed)).rename(folder / "results")
    draw = random.Random(seed)
    nodes = list(node_folders(folder / "results"))
    paths = [path for node in nodes for path in sorted(node.rglob("*")) if path.is_file() and path.stat().st_size]
    unseen = 0
    for number in range(flips):
        # Each file once before any comes twice.
        path = paths[number] if number < len(paths) else draw.choice(paths)
        node = next(node for node in nodes if node in path.parents)
        with path.open("r+b") as file:
            place, bit = draw.randrange(path.stat().st_size), 1 << draw.randrange(8)
            for turn in range(2):
                file.seek(place)
                [byte] = file.read(1)
                file.seek(place)
                file.write(bytes([byte ^ bit]))
                file.flush()
                said = " ".join(problems(node))
                if turn == 0 and path.name not in said:
                    unseen += 1
                    typer.echo(json.dumps({"unseen": str(path), "place": place, "bit": bit}), err=True)
    return "bit flips", flips, "unseen", unseen


if __name__ == "__main__":
    typer.run(main)
