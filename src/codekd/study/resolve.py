"""Resolution of a config into a study: presets filled in, names looked up, everything checked."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from codekd.data.pins import Pin, read_pins
from codekd.errors import CodekdError
from codekd.models.teachers.ensemble import FLOOR
from codekd.study import components
from codekd.study.config import Corpus, Grid, Study, StudyFile, Trained
from codekd.study.lock import pinned, read_lock
from codekd.study.problems import Place, Problems
from codekd.study.training import Training

SPLITS = ("train", "valid", "test", "transfer")
TRAINED = ("teachers", "students")
BY_TASK = "by_task"
RESERVED = ("all", "none", "task", "teacher", "student", "method", "floor", "name", "examples")


@cache
def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """Definitions that the package ships: section -> name -> definition."""
    folder = Path(__file__).parents[1] / "presets"
    return {section: yaml.safe_load((folder / f"{section}.yaml").read_text()) for section in components.PACKAGES}


def read_config(path: Path) -> Any:
    """Content of a config file, not validated.

    Raises:
        CodekdError: the file is not YAML of plain values.
    """
    try:
        return yaml.safe_load(path.read_text())
    except RecursionError:
        raise CodekdError(f"{path}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise CodekdError(f"{path}: {error}") from None


def load_study(config: Mapping[str, Any], files: Sequence[Path], lock: Mapping[str, str] | None = None) -> Study:
    """Study of a config, checked and resolved.

    Args:
        config: the merged content of the config files.
        files: the files it came from. Relative paths in the config start at the folder of the first one; messages
            name their lines.
        lock: commits of what comes from the hub; by default those in the lock file beside the first file.

    Raises:
        CodekdError: every problem found, each with its file, line and key.
    """
    problems = Problems(files)
    problems.add_repeated_keys()
    problems.raise_any()
    try:
        file = StudyFile.model_validate(config)
    except ValidationError as error:
        problems.add_validation((), error, StudyFile)
    problems.raise_any()

    known = {section: _known(section, file) for section in components.PACKAGES}
    used = {section: {*getattr(file, section), *getattr(file.grid, section)} for section in components.PACKAGES}
    used["tasks"].update(task for tasks in file.vocabularies.values() for task in tasks)
    for section, names in _named_by_starts(used["students"], file).items():
        used[section].update(names & known[section].keys())
    for section in components.PACKAGES:
        for index, name in enumerate(getattr(file.grid, section)):
            if name not in known[section]:
                problems.add_unknown(("grid", section, index), name, known[section])
        for name, definition in getattr(file, section).items():
            if name in RESERVED:
                problems.add((section, name), "reports use this name for something else; choose another one")
            if "preset" in definition and (preset := str(definition["preset"])) not in presets()[section]:
                problems.add_unknown((section, name, "preset"), preset, presets()[section])
    for section in ("students", "methods"):
        for name in getattr(file.search, section):
            if name not in known[section]:
                problems.add_unknown(("search", section, name), name, known[section])
    for group, tasks in file.vocabularies.items():
        for index, name in enumerate(tasks):
            if name not in known["tasks"]:
                problems.add_unknown(("vocabularies", group, index), name, known["tasks"])
            first = next(one for one, others in file.vocabularies.items() if name in others)
            if first != group:
                problems.add(("vocabularies", group, index), f"{name} has the vocabulary {first} already; keep one")
        if group in known["tasks"] and group not in tasks:
            problems.add(
                ("vocabularies", group),
                f"a task is called so, whose own vocabulary would have this name: add {group}, or choose another name",
            )
    problems.raise_any()

    used["teachers"] |= _members(used["teachers"], known["teachers"], file, problems)
    problems.raise_any()
    resolved = {
        section: {name: _resolve(section, name, file, problems) for name in sorted(used[section])}
        for section in components.PACKAGES
    }
    _check_starts(resolved["students"], known, problems)
    _check_methods_are_used(file.grid, resolved["students"], problems)
    folder = files[0].parent if files else Path()
    if lock is None:
        lock = read_lock(files[0]) if files else {}
    resolved["tasks"] = {name: pinned(task, "datasets", lock) for name, task in resolved["tasks"].items()}
    resolved["teachers"] = {
        name: teacher and replace(teacher, component=pinned(teacher.component, "models", lock))
        for name, teacher in resolved["teachers"].items()
    }
    for place, weights, tasks in _class_weights(file, resolved):
        _check_class_weights(place, weights, {name: resolved["tasks"][name] for name in tasks}, problems)
    corpora = {name: _pins(name, folder, corpus, problems) for name, corpus in file.corpora.items()}
    split = _split(folder / file.split, problems) if file.split else {}
    problems.raise_any()
    return Study(
        name=file.name,
        folder=folder,
        grid=file.grid,
        corpora=corpora,
        split=split,
        vocabularies=file.vocabularies,
        inference=file.inference,
        taught_floor=file.taught_floor,
        search=file.search,
        **resolved,
    )


def _members(used: Collection[str], known: Mapping[str, Any], file: StudyFile, problems: Problems) -> set[str]:
    """Names of the members of ensembles in use, after noting those that do not exist or are ensembles themselves."""
    members: dict[str, Place] = {}
    for name in sorted(used):
        definition = _definition("teachers", name, file)
        if definition.get("kind") == "ensemble" and isinstance(definition.get("members"), list):
            places = enumerate(definition["members"])
            members |= {str(one): ("teachers", name, "members", index) for index, one in places if one != FLOOR}
    for name, place in members.items():
        if name not in known:
            problems.add_unknown(place, name, {*known, FLOOR})
        elif _definition("teachers", name, file).get("kind") == "ensemble":
            problems.add(place, f"{name} is an ensemble itself; name its members here")
    return {*members}


def _resolve(section: str, name: str, file: StudyFile, problems: Problems) -> Any:
    """Component of one definition, or None after noting what is wrong with it."""
    place: Place = (section, name)
    definition = _definition(section, name, file)
    if "kind" not in definition:
        kinds = ", ".join(components.kinds(section))
        problems.add(place, f"a new definition needs `preset: NAME` or `kind:` (one of {kinds})")
        return None
    try:
        model = components.load(section, definition["kind"]).Config
    except CodekdError as error:
        problems.add((*place, "kind"), str(error))
        return None
    if section not in TRAINED:
        return _validated(model, definition, place, problems)
    numbers = definition.pop("training", {})
    settings = _validated(Training, numbers, (*place, "training"), problems)
    own = definition.pop(BY_TASK, {})
    by_task = _by_task(own, numbers, file, (*place, BY_TASK), problems) if settings else {}
    of_students = ("start", "methods", "unlabeled") if section == "students" else ()
    start, methods, unlabeled = (definition.pop(key, None) for key in of_students) if of_students else (None,) * 3
    component = _validated(model, definition, place, problems, ("preset", "training", BY_TASK, *of_students))
    if section == "teachers" and component and not component.trained:
        for key in {"training", BY_TASK} & getattr(file, section).get(name, {}).keys():
            problems.add((*place, key), f"teachers of kind {component.kind} are not trained: remove it")
    if start is not None:
        start = _start(start, component, (*place, "start"), problems)
    if methods is not None:
        methods = _own_methods(methods, _known("methods", file), (*place, "methods"), problems)
    if unlabeled is not None and (not isinstance(unlabeled, int) or isinstance(unlabeled, bool) or unlabeled < 0):
        problems.add((*place, "unlabeled"), "write a number of unlabelled examples, or null for all of them")
    return Trained(component, settings, start, methods, unlabeled, by_task) if component and settings else None


def _check_methods_are_used(grid: Grid, students: Mapping[str, Trained | None], problems: Problems) -> None:
    """Check that each method of the grid is used by some student of the grid."""
    limits = [trained.methods if trained else None for trained in (students[name] for name in grid.students)]
    for index, method in enumerate(grid.methods):
        if not any(own is None or method in own for own in limits):
            problems.add(
                ("grid", "methods", index),
                f"no student of the grid is trained with {method}: add it to `students.{grid.students[0]}.methods`, or "
                "remove it here",
            )


def _by_task(
    numbers: Any, of_all: Mapping[str, Any], file: StudyFile, place: Place, problems: Problems
) -> dict[str, Training]:
    """Training numbers of the tasks that have their own in the place of those for all tasks."""
    if not isinstance(numbers, Mapping) or not all(isinstance(own, Mapping) for own in numbers.values()):
        problems.add(place, f"write training numbers by task, such as `{{{file.grid.tasks[0]}: {{epochs: 2}}}}`")
        return {}
    known, found = _known("tasks", file), {}
    for task, own in numbers.items():
        if task not in known:
            problems.add_unknown((*place, str(task)), str(task), known)
        elif training := _validated(Training, _merged(of_all, own), (*place, task), problems):
            found[task] = training
    return found


def _own_methods(names: Any, known: Collection[str], place: Place, problems: Problems) -> tuple[str, ...]:
    """Methods to which one student is limited, after noting names that do not exist."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        problems.add(place, "write a list of methods, such as [ft, kd], or null for all those of the grid")
        return ()
    for index, name in enumerate(names):
        if name not in known:
            problems.add_unknown((*place, index), name, known)
    return tuple(names)


def _start(definition: Any, student: Any, place: Place, problems: Problems) -> Any:
    """Component of a student's `start`, or None after noting what is wrong with it."""
    kinds = ", ".join(components.kinds("starts"))
    if not isinstance(definition, Mapping) or not isinstance(definition.get("kind"), str):
        problems.add(place, f"write `start: {{kind: ...}}` (one of {kinds}), or null to begin at random")
        return None
    try:
        model = components.load("starts", definition["kind"]).Config
    except CodekdError as error:
        problems.add((*place, "kind"), str(error))
        return None
    start = _validated(model, definition, place, problems)
    if start and student and student.lexemes is not None and start.of_tokens:
        problems.add(
            place,
            f"`kind: {definition['kind']}` is about the tokens of a learned vocabulary, and this student reads "
            "lexemes: remove it, or write `start: {kind: aligned, masked: 0, teacher: ...}`",
        )
        return None
    return start


def _named_by_starts(students: Iterable[str], file: StudyFile) -> dict[str, set[str]]:
    """Names of the teachers and tasks that the starts of some students refer to, by section."""
    found = (_definition("students", name, file).get("start") for name in students)
    starts = [start for start in found if isinstance(start, Mapping)]
    tasks = [start.get("tasks") for start in starts]
    return {
        "teachers": {str(start["teacher"]) for start in starts if "teacher" in start},
        "tasks": {str(task) for some in tasks if isinstance(some, list) for task in some},
    }


def _check_starts(students: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], problems: Problems) -> None:
    """Check that the teachers and tasks that starts refer to exist."""
    for name, student in students.items():
        if not (student and student.start):
            continue
        place: Place = ("students", name, "start")
        for teacher in student.start.teachers:
            if teacher not in known["teachers"]:
                problems.add_unknown((*place, "teacher"), teacher, known["teachers"])
        for task in student.start.taught_on:
            if task not in known["tasks"]:
                problems.add_unknown((*place, "tasks"), task, known["tasks"])


def _validated(model: Any, values: Any, place: Place, problems: Problems, others: Iterable[str] = ()) -> Any:
    """Instance of the pydantic ``model`` with ``values``, or None after noting what is wrong with them.

    ``others`` are keys that are valid beside them and were taken out.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems.add_validation(place, error, model, others)
        return None


def _class_weights(
    file: StudyFile, resolved: Mapping[str, Any]
) -> Iterator[tuple[Place, Mapping[str, float], list[str]]]:
    """Class weights by name, in training or search: place in the config, weights, and the tasks that they are for.

    Tasks are those of the grid.
    """
    tasks = file.grid.tasks
    of_all = file.training.get("class_weights")
    found: list[tuple[Place, Any, list[str]]] = [(("training", "class_weights"), of_all, tasks)]
    for section in TRAINED:
        for name, trained in resolved[section].items():
            weights = trained and trained.training.class_weights
            if section == "teachers" or weights != of_all:
                found.append(((section, name, "training", "class_weights"), weights, tasks))
            for task, own in trained.by_task.items() if trained else ():
                if own.class_weights != weights and task in tasks:
                    found.append(((section, name, BY_TASK, task, "class_weights"), own.class_weights, [task]))
    searched: dict[Place, Any] = {("search", "training"): file.search.training}
    searched |= {("search", "students", name): values for name, values in file.search.students.items()}
    for place, values in searched.items():
        tried = enumerate(values.get("class_weights", []))
        found += [((*place, "class_weights", index), one, tasks) for index, one in tried]
    return (one for one in found if isinstance(one[1], Mapping))


def _check_class_weights(
    place: Place, weights: Mapping[str, float], tasks: Mapping[str, Any], problems: Problems
) -> None:
    """Check that each name is a class of some task, and that a task with one named class has all its classes named."""
    known = {name for task in tasks.values() if task for name in task.classes}
    for name in weights:
        if name not in known:
            problems.add_unknown((*place, str(name)), str(name), known)
    for task, config in tasks.items():
        missing = [name for name in config.classes if name not in weights] if config else []
        if missing and len(missing) < len(config.classes):
            line = ", ".join(f"{name}: {weights.get(name, 1.0)}" for name in config.classes)
            problems.add(place, f"{missing[0]}, a class of {task}, has no weight; write `class_weights: {{{line}}}`")


def _known(section: str, file: StudyFile) -> dict[str, Any]:
    """Definitions of a section that may be named: presets and those of the file."""
    return {**presets()[section], **getattr(file, section)}


def _definition(section: str, name: str, file: StudyFile) -> dict[str, Any]:
    """Definition merged over its preset and, for students, over the study's training numbers."""
    override = dict(getattr(file, section).get(name, {}))
    base = presets()[section].get(override.pop("preset", name), {})
    if override.get("kind", base.get("kind")) != base.get("kind"):
        base = {}
    if section == "students":
        base = _merged(base, {"training": file.training})
    return _merged(base, override)


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in override.items():
        nested = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = _merged(out[key], value) if nested else value
    return out


def _pins(name: str, folder: Path, corpus: Corpus, problems: Problems) -> list[Pin]:
    files = [corpus.pins] if isinstance(corpus.pins, str) else corpus.pins
    try:
        pins = [pin for file in files for pin in read_pins(folder / file)]
    except CodekdError as error:
        problems.add(("corpora", name, "pins"), str(error))
        return []
    if corpus.packages is None:
        return pins
    by_name = {pin.name: pin for pin in pins}
    for index, package in enumerate(corpus.packages):
        if package not in by_name:
            problems.add_unknown(("corpora", name, "packages", index), package, by_name)
    return [by_name[package] for package in corpus.packages if package in by_name]


def _split(path: Path, problems: Problems) -> dict[str, str]:
    try:
        split = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        problems.add(("split",), f"cannot read {path}: {error}")
        return {}
    wrong = {package: part for package, part in split.items() if part not in SPLITS}
    if wrong:
        problems.add(("split",), f"{path}: each package is in one of {', '.join(SPLITS)}; found {wrong}")
    return split
