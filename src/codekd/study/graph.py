"""Graph of a study: one node for each piece of work of a stage, named by its identity.

A node's folder is ``results/<stage>/<coordinates>-<identity>``. The identity covers the values that a node uses, the
source that it runs and its parents' identities, and nothing of the grid's size: another seed renames no node.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from codekd.errors import CodekdError
from codekd.files import put_text
from codekd.models.layers import teacher_layers
from codekd.models.positions import check_length
from codekd.models.teachers.ensemble import FLOOR
from codekd.signals.base import UNITS_OF_SYNTAX, Signal, parse
from codekd.study import components
from codekd.study.canonical import canonical, digest
from codekd.study.config import Study, Trained
from codekd.study.content import Contents, LocalFile
from codekd.study.identity import code_digest
from codekd.study.job import JOBS, file_roles, full_name, title
from codekd.study.search import Candidate, candidates
from codekd.study.training import Training

NO_TEACHER = "none"
REUSED_HEAD = "reused-head"
"""Last coordinate of an `inference` node whose student reuses its teacher's head, which makes it a larger model."""

CONTENTS = ".contents.json"

RUN_A_MODEL = ("adapted", "teachers", "signals", "starts", "trials", "students")
"""Stages whose time is mostly that of a model; `verified` runs one as well, but on a few examples."""

ONE_PASS = ("signals", "verified")
"""Stages whose nodes of one task and teacher are made in one pass of the teacher."""

SPEC_OF_WINDOWS = {"classes": ["code"], "columns": ["code"], "has_hole": False}
"""Shape of windows of code, with the keys by which the spec of a node describes the examples of a task."""

LANGUAGE_OF_WINDOWS = "python"

LEXEMES = "lexemes"
"""Name in coordinates in the place of that of a tokenizer, for students that read lexemes."""

TOGETHER = dict.fromkeys(ONE_PASS, 2) | {"inference": 0}
"""Stages of which one job makes several nodes: all that have this number of leading coordinates in common."""


@dataclass(frozen=True)
class Node:
    """Node of the graph: one piece of work of a stage.

    ``coordinates`` name it for people, ``spec`` holds the values that it uses, and ``entries`` are the modules that it
    runs; ``parents`` are the nodes that it reads, and ``files`` the user's files, both by role.
    """

    stage: str
    coordinates: tuple[str, ...]
    spec: Mapping[str, Any]
    entries: tuple[str, ...]
    parents: Mapping[str, "Node"] = field(default_factory=dict)
    files: Mapping[str, LocalFile] = field(default_factory=dict)

    @cached_property
    def code(self) -> str:
        """Digest of the source that this node runs."""
        return code_digest(self.entries)

    @cached_property
    def identity(self) -> str:
        """Digest of the stage, the spec, the code, the parents' identities and the files' content."""
        parents = {role: parent.identity for role, parent in self.parents.items()}
        parents |= {role: file.sha256 for role, file in self.files.items()}
        return identity(self.stage, self.spec, self.code, parents)

    @cached_property
    def folder(self) -> Path:
        """Folder of the node's output, relative to the results folder."""
        return Path(self.stage, *self.coordinates[:-1], f"{self.coordinates[-1]}-{self.identity}")

    @property
    def title(self) -> str:
        """Stage and coordinates, for messages."""
        return title(self.stage, self.coordinates)

    @property
    def path(self) -> str:
        """Stage and coordinates, e.g. ``students/exception/minilm/bigru-1.5m/kd/seed1``."""
        return "/".join((self.stage, *self.coordinates))

    @cached_property
    def name(self) -> str:
        """Stage, coordinates and identity: the name of the node's lock and of its scratch folder."""
        return full_name(self.stage, self.coordinates, self.identity)

    def job_file(self, results: Path, write: bool = True) -> Path:
        """Path of the file with the node's :meth:`job`, which is too long for a command line if there are many parents.

        Args:
            results: the results folder.
            write: whether to write the file if it does not exist.
        """
        job = self.job(results)
        path = results / JOBS / f"{digest(job)}-{self.identity}.json"
        if write and not path.exists():
            put_text(job, path)
        return path

    def job(self, results: Path) -> str:
        """Job of the node as canonical JSON: identity, spec, source, the parents' folders and the files."""
        files = {role: {"identity": file.sha256, "file": str(file.path)} for role, file in self.files.items()}
        return canonical(
            {
                "stage": self.stage,
                "coordinates": self.coordinates,
                "identity": self.identity,
                "spec": self.spec,
                "code": self.code,
                "entries": self.entries,
                "parents": {
                    role: {"identity": parent.identity, "folder": str(results / parent.folder)}
                    for role, parent in self.parents.items()
                }
                | files,
            }
        )


def identity(stage: str, spec: Mapping[str, Any], code: str, parents: Mapping[str, str]) -> str:
    """Identity of a node: 12 hexadecimal digits.

    Args:
        stage: its stage.
        spec: the values that it uses.
        code: digest of the source that it runs.
        parents: identities of its parents, and SHA-256 of its files, by role.
    """
    return digest({"stage": stage, "spec": spec, "code": code, "parents": parents})


class Graph:
    """Graph of a study: all of its nodes.

    ``report`` is the last node, and every other is its ancestor; ``by_folder`` has all by their folder.
    """

    def __init__(self, study: Study, results: Path = Path("results")) -> None:
        """Build the graph of a study.

        Args:
            study: the resolved config.
            results: the results folder, in which digests of the user's files are remembered.

        Raises:
            CodekdError: parts of the study do not go together, or a file is missing.
        """
        self._study = study
        self._contents = Contents(results / CONTENTS)
        self._nodes: dict[tuple[str, tuple[str, ...]], Node] = {}
        self.report = self._report()
        self.by_folder = {str(node.folder): node for node in self._nodes.values()}

    def __iter__(self) -> Iterator[Node]:
        """All nodes, parents before children."""
        return iter(self._nodes.values())

    def stage(self, stage: str) -> list[Node]:
        """Nodes of one stage."""
        return [node for node in self if node.stage == stage]

    def _add(
        self,
        stage: str,
        coordinates: tuple[str, ...],
        spec: Mapping[str, Any],
        entries: Iterable[str],
        parents: Mapping[str, Node] | None = None,
        files: Mapping[str, LocalFile] | None = None,
    ) -> Node:
        node = Node(stage, coordinates, spec, tuple(sorted(entries)), parents or {}, files or {})
        known = self._nodes.setdefault((stage, coordinates), node)
        if known != node:
            raise CodekdError(
                f"two different nodes would be called {node.path}: give what they are made from other names"
            )
        return known

    def _known(self, stage: str, *coordinates: str) -> Node | None:
        return self._nodes.get((stage, coordinates))

    def _corpus(self, name: str, reader: str) -> Node:
        if name not in self._study.corpora:
            raise CodekdError(f"{reader} reads the corpus {name!r}; name its list of pins under `corpora:`.")
        wheels = [pin.model_dump() for pin in self._study.corpora[name]]
        return self._known("corpus", name) or self._add("corpus", (name,), {"wheels": wheels}, ["codekd.data.corpus"])

    def _corpora(self, names: Iterable[str], reader: str) -> tuple[dict[str, Node], dict[str, str]]:
        """Corpora that a task, teacher or start reads, by role, and the part of the split of each of their packages."""
        corpora = {f"corpus/{name}": self._corpus(name, reader) for name in names}
        packages = {wheel["name"] for corpus in corpora.values() for wheel in corpus.spec["wheels"]}
        return corpora, {package: part for package, part in self._study.split.items() if package in packages}

    def _examples(self, task: str) -> Node:
        if known := self._known("examples", task):
            return known
        config = self._study.tasks[task]
        corpora, split = self._corpora(config.corpora, f"tasks.{task}")
        spec = {"task": config.spec(), "split": split}
        entries = ["codekd.data.examples", components.module_name("tasks", config.kind)]
        return self._add("examples", (task,), spec, entries, corpora, self._files(f"tasks.{task}", config))

    def _files(self, place: str, config: Any) -> dict[str, LocalFile]:
        """User's files that a task or a teacher is made from, by role."""
        try:
            files = file_roles(config.local_files(self._study.folder))
            return {role: self._contents.file(path) for role, path in files.items()}
        except CodekdError as error:
            raise CodekdError(f"{place}: {error}") from None

    def _floor(self, task: str) -> Node:
        entries = ["codekd.analysis.floors"]
        return self._add("floors", (task,), self._task_spec(task), entries, {"examples": self._examples(task)})

    def _taught_floor(self, task: str, teacher: str) -> Node:
        """N-gram baseline fitted on the predictions of a teacher, whose logits are captured anyway."""
        logits = self._signal(task, teacher, parse({"kind": "logits"}))
        parents = {"examples": self._examples(task), "signals/logits": logits}
        parents["verified/logits"] = self._verified(logits)
        return self._add("floors", (task, teacher), self._task_spec(task), ["codekd.analysis.taught"], parents)

    def _input_spec(self, task: str) -> dict[str, Any]:
        """Shape of a task's examples for the specs of nodes: classes, columns of code, and whether there is a hole."""
        config = self._study.tasks[task]
        return {"classes": list(config.classes), "columns": list(config.columns), "has_hole": config.has_hole}

    def _task_spec(self, task: str) -> dict[str, Any]:
        """Shape of a task's examples, with the metric of the task."""
        return {"metric": self._study.tasks[task].metric, **self._input_spec(task)}

    def _tokenizer(self, task: str, size: int) -> Node:
        groups = self._study.vocabularies
        group = next((name for name, tasks in groups.items() if task in tasks), task)
        coordinates = (group, str(size))
        tasks = sorted(groups.get(group, [task]))
        spec = {"size": size, "columns": {name: list(self._study.tasks[name].columns) for name in tasks}}
        parents = {f"examples/{name}": self._examples(name) for name in tasks}
        return self._add("tokenizers", coordinates, spec, ["codekd.data.bpe"], parents)

    def _encoded(self, task: str, name: str, tokenizer: Node, max_length: int, prefix: Sequence[str] = ()) -> Node:
        """Examples of a task as sequences of tokens; ``tokenizer`` is a node of `tokenizers` or `pretrained`."""
        if limit := self._study.tasks[task].max_length:
            max_length = min(max_length, limit)
        spec = {"max_length": max_length, "prefix": list(prefix), **self._input_spec(task)}
        parents = {"examples": self._examples(task), "tokenizer": tokenizer}
        return self._add("encoded", (task, f"{name}-{max_length}"), spec, ["codekd.data.encode"], parents)

    def _lexed(self, examples: Node, max_length: int, language: str, shape: Mapping[str, Any]) -> Node:
        """Examples of a task, or windows, as sequences of at most ``max_length`` lexemes for each piece of code.

        The `max_length` of the task does not apply: it limits tokens.
        """
        spec = {"max_length": max_length, "language": language, **shape}
        coordinates = (*examples.coordinates, f"{LEXEMES}-{max_length}")
        return self._add("encoded", coordinates, spec, ["codekd.data.encode_lexemes"], {"examples": examples})

    def _encoded_windows(
        self, windows: Node, name: str, tokenizer: Node, max_length: int, prefix: Sequence[str] = ()
    ) -> Node:
        """Windows of code as sequences of tokens."""
        spec = {"max_length": max_length, "prefix": list(prefix), **SPEC_OF_WINDOWS}
        coordinates = (*windows.coordinates, f"{name}-{max_length}")
        parents = {"examples": windows, "tokenizer": tokenizer}
        return self._add("encoded", coordinates, spec, ["codekd.data.encode"], parents)

    def _pretrained(self, name: str) -> Node:
        if known := self._known("pretrained", name):
            return known
        config = self._study.teachers[name].component
        entries = ["codekd.models.pretrained", components.module_name("teachers", config.kind)]
        shape = {"layers": config.layers, "width": config.width}
        spec = {"origin": config.origin(), "trained": config.trained, **shape}
        return self._add("pretrained", (name,), spec, entries, files=self._files(f"teachers.{name}", config))

    def _adapted(self, name: str) -> Node:
        """Pretrained encoder after further training on code; test packages are not read."""
        if known := self._known("adapted", name):
            return known
        pretrained, config = self._pretrained(name), self._study.teachers[name].component
        corpora, split = self._corpora(config.adaptation.corpora, f"teachers.{name}")
        spec = {
            "adaptation": config.adaptation.chosen(),
            "packages": {package: part for package, part in split.items() if part != "test"},
            "layers": config.layers,
            "width": config.width,
        }
        return self._add("adapted", (name,), spec, ["codekd.training.adapt"], {"pretrained": pretrained, **corpora})

    def _teacher(self, task: str, name: str) -> Node:
        if known := self._known("teachers", task, name):
            return known
        teacher = self._study.teachers[name]
        if teacher.component.parts:
            return self._ensemble(task, name)
        if not teacher.component.trained:
            return self._asked(task, name)
        pretrained, encoded = self._read_by_teacher(task, name)
        spec = self._training_spec(task, teacher.component, teacher.training_on(task)) | {
            "dropout": teacher.component.dropout,
            "seed": teacher.component.seed,
        }
        parents = {"encoded": encoded, "pretrained": pretrained}
        return self._add("teachers", (task, name), spec, ["codekd.training.teacher"], parents)

    def _asked(self, task: str, name: str) -> Node:
        """Teacher that is not trained on the task: a node with its scores."""
        pretrained, encoded = self._read_by_teacher(task, name)
        config = self._study.tasks[task]
        spec = {"classes": len(config.classes), "metric": config.metric}
        logits = self._signal(task, name, parse({"kind": "logits"}))
        parents = {"encoded": encoded, "pretrained": pretrained, "signals/logits": logits}
        return self._add("teachers", (task, name), spec, ["codekd.training.asked"], parents)

    def _ensemble(self, task: str, name: str) -> Node:
        """Ensemble of teachers: a node with the scores of its members' combined logits."""
        logits, config = self._signal(task, name, parse({"kind": "logits"})), self._study.tasks[task]
        spec = {"classes": len(config.classes), "metric": config.metric, **self._combination(name)}
        models = {
            f"models/{member}": self._floor(task) if member == FLOOR else self._teacher(task, member)
            for member in spec["members"]
        }
        parents = {**logits.parents, "signals/logits": logits, **models}
        return self._add("teachers", (task, name), spec, ["codekd.training.ensemble"], parents)

    def _combination(self, name: str) -> dict[str, Any]:
        """Settings of an ensemble that its logits depend on: its members and their weights."""
        return self._study.teachers[name].component.model_dump(mode="json", include={"members", "weights"})

    def _read_by_teacher(self, task: str, name: str) -> tuple[Node, Node]:
        """Encoder that a teacher starts from, and the encoded examples of a task that it reads."""
        config, pretrained = self._study.teachers[name].component, self._pretrained(name)
        encoded = self._encoded(task, name, pretrained, config.max_length, config.prefix)
        if local := pretrained.files.get("file/config.json/0"):
            # A model of the hub is checked once it is downloaded.
            check_length(f"teachers.{name}.max_length", encoded.spec["max_length"], local.path)
            if config.adaptation:
                key = f"teachers.{name}.adaptation.max_length"
                check_length(key, config.adaptation.max_length, local.path)
        return self._adapted(name) if config.adaptation else pretrained, encoded

    def _training_spec(self, task: str, component: Any, training: Training) -> dict[str, Any]:
        config = self._study.tasks[task]
        return {
            "classes": len(config.classes),
            "class_names": list(config.classes),
            "metric": config.metric,
            "pooling": component.pooling_for(config.shape),
            "training": training.chosen(),
        }

    def _syntax(self, task: str) -> Node:
        config = self._study.tasks[task]
        spec = {"columns": list(config.columns), "language": config.language}
        return self._known("syntax", task) or self._add(
            "syntax", (task,), spec, ["codekd.data.lexemes"], {"examples": self._examples(task)}
        )

    def _signal(self, task: str, teacher: str, signal: Signal) -> Node:
        if known := self._known("signals", task, teacher, signal.name):
            return known
        if teacher == FLOOR:
            return self._floor_signal(task, signal)
        config = self._study.teachers[teacher].component
        if config.parts:
            return self._ensemble_signal(task, teacher, signal)
        spec = {"signal": signal.chosen(), "by": config.by, **self._limit_of_states(task, [signal])}
        if config.trained:
            fine_tuned = self._teacher(task, teacher)
            parents = {"encoded": fine_tuned.parents["encoded"], "teacher": fine_tuned}
        else:
            pretrained, encoded = self._read_by_teacher(task, teacher)
            parents = {"encoded": encoded, "pretrained": pretrained}
            spec |= {"question": config.question(), "classes": list(self._study.tasks[task].classes)}
            spec["columns"] = list(self._study.tasks[task].columns)
        if signal.unit in UNITS_OF_SYNTAX:
            parents["syntax"] = self._syntax(task)
        entries = ["codekd.signals.capture", f"codekd.signals.{config.by}", f"codekd.signals.{signal.kind}"]
        return self._add("signals", (task, teacher, signal.name), spec, entries, parents)

    def _floor_signal(self, task: str, signal: Signal) -> Node:
        """Signal of the n-gram baseline, which reads the examples as text."""
        spec = {"signal": signal.chosen(), "by": "ngrams", **self._input_spec(task)}
        entries = ["codekd.signals.capture", "codekd.signals.ngrams", f"codekd.signals.{signal.kind}"]
        return self._add("signals", (task, FLOOR, signal.name), spec, entries, {"examples": self._examples(task)})

    def _ensemble_signal(self, task: str, name: str, signal: Signal) -> Node:
        """Combined signal of an ensemble's members; ids and labels are from the encoded examples of its first model."""
        spec = {"signal": signal.chosen(), "by": "ensemble", **self._combination(name)}
        spec["classes"] = list(self._study.tasks[task].classes)
        members = {member: self._signal(task, member, signal) for member in spec["members"]}
        encoded = next(one.parents["encoded"] for one in members.values() if "encoded" in one.parents)
        parents = {"encoded": encoded} | {f"members/{member}": one for member, one in members.items()}
        entries = ["codekd.signals.capture", "codekd.signals.ensemble", f"codekd.signals.{signal.kind}"]
        return self._add("signals", (task, name, signal.name), spec, entries, parents)

    def _windows(self, student: str, start: Any) -> Node:
        """Windows of code for the training and the validation of a start; test packages are not read."""
        count = start.windows or "all"
        # The `+` keeps it apart from names of tasks, which stand at the same place of coordinates and have none.
        name = "+".join([*start.corpora, f"{count}x{start.characters}"])
        if known := self._known("windows", name):
            return known
        corpora, split = self._corpora(start.corpora, f"students.{student}.start")
        packages = {package: part for package, part in split.items() if part != "test"}
        spec = {"windows": start.windows, "characters": start.characters, "packages": packages}
        return self._add("windows", (name,), spec, ["codekd.data.windows"], corpora)

    def _encoder(self, name: str) -> Node:
        """Encoder of a teacher before it is fine-tuned on a task."""
        return self._adapted(name) if self._study.teachers[name].component.adaptation else self._pretrained(name)

    def _signals_of_windows(self, windows: Node, start: Any, signal: Signal) -> dict[str, Node]:
        """Signals of a start's teacher over windows, and their checks: of its encoder, or as fine-tuned on tasks."""
        [name] = start.teachers
        config = self._study.teachers[name].component
        pretrained = self._pretrained(name)
        read = self._encoded_windows(windows, name, pretrained, config.max_length, config.prefix)
        common = {"encoded": read}
        if signal.unit in UNITS_OF_SYNTAX:
            common["syntax"] = self._syntax_of_windows(windows)
        by_role = {"": ("pretrained", (name,), {"pretrained": self._encoder(name)})}
        if start.taught_on:
            by_role = {
                f"/{task}": ("finetuned", (f"{name}+{task}",), {"teacher": self._teacher(task, name)})
                for task in sorted(start.taught_on)
            }
        found: dict[str, Node] = {}
        for role, (by, teacher, parents) in by_role.items():
            spec = {"signal": signal.chosen(), "by": by}
            entries = ["codekd.signals.capture", f"codekd.signals.{by}", f"codekd.signals.{signal.kind}"]
            coordinates = (*windows.coordinates, *teacher, signal.name)
            captured = self._add("signals", coordinates, spec, entries, {**common, **parents})
            found[f"signals/{signal.kind}{role}"] = captured
            found[f"verified/{signal.kind}{role}"] = self._verified(captured)
        return found

    def _syntax_of_windows(self, windows: Node) -> Node:
        spec = {"columns": SPEC_OF_WINDOWS["columns"], "language": LANGUAGE_OF_WINDOWS}
        return self._add("syntax", windows.coordinates, spec, ["codekd.data.lexemes"], {"examples": windows})

    def _start(self, task: str, student: str) -> Node:
        """Initial weights of a student with a `start`, one node for all tasks that share its vocabulary.

        Students that read lexemes have no vocabulary, so all tasks share the node.
        """
        trained = self._study.students[student]
        architecture, start = trained.component, trained.start
        tokenizer = None if architecture.lexemes else self._tokenizer(task, architecture.vocabulary_size)
        group = tokenizer.coordinates[0] if tokenizer else LEXEMES
        coordinates = (group, student, start.kind)
        if known := self._known("starts", *coordinates):
            return known
        spec = {"start": start.chosen(), "architecture": architecture.settings()}
        parents = {"tokenizer": tokenizer} if tokenizer else {}
        for teacher in start.teachers:
            self._check_teaches_start(student, teacher, start)
        if start.reads_code:
            windows = self._windows(student, start)
            if tokenizer:
                name = f"bpe{architecture.vocabulary_size}-{group}"
                parents["encoded"] = self._encoded_windows(windows, name, tokenizer, architecture.max_length)
            else:
                length = architecture.max_length
                parents["encoded"] = self._lexed(windows, length, LANGUAGE_OF_WINDOWS, SPEC_OF_WINDOWS)
            for signal in start.requests(architecture.layers):
                parents |= self._signals_of_windows(windows, start, signal)
                if signal.unit in UNITS_OF_SYNTAX:
                    parents["syntax"] = self._syntax_of_windows(windows)
        else:
            [teacher] = start.teachers
            parents["pretrained"] = self._encoder(teacher)
            spec["prefix"] = list(self._study.teachers[teacher].component.prefix)
        entries = [
            "codekd.training.start",
            components.module_name("starts", start.kind),
            components.module_name("students", architecture.kind),
        ]
        return self._add("starts", coordinates, spec, entries, parents)

    def _paid_for_start(self, task: str, student: str) -> dict[str, Node]:
        """Start of a student and the signals captured for it, by role in the report, which says what they cost."""
        start, place = self._start(task, student), f"starts/{task}/{student}"
        captured = {role: one for role, one in start.parents.items() if role.startswith("signals/")}
        return {place: start} | {f"{place}/{role}": one for role, one in captured.items()}

    def _check_teaches_start(self, student: str, teacher: str, start: Any) -> None:
        config = self._study.teachers[teacher].component
        place = f"students.{student}.start.teacher"
        if not config.trained:
            raise CodekdError(f"{place}: {teacher} gives no states; name an encoder that is fine-tuned on tasks.")
        try:
            if start.by_layer:
                teacher_layers(self._study.students[student].component.layers, config.layers)
        except CodekdError as error:
            raise CodekdError(f"{place}: {teacher}: {error}") from None

    def _verified(self, captured: Node) -> Node:
        """Check of a captured signal against the live teacher.

        Its source is in no identity: a better check changes no signal. Members of an ensemble are checked before it.
        """
        members = {role: one for role, one in captured.parents.items() if role.startswith("members/")}
        checked = {f"verified/{role}": self._verified(one) for role, one in members.items()}
        parents = {**captured.parents, "signal": captured, **checked}
        return self._add("verified", captured.coordinates, captured.spec, [], parents)

    def _candidates(self, task: str, teacher: str, student: str, method: str) -> list[Candidate]:
        """Candidates for the settings of a cell: one, or several among which a search is to choose."""
        trained, config = self._study.students[student], self._study.teachers[teacher].component
        layers = trained.component.layers
        try:
            loss = self._study.methods[method].for_classes(len(self._study.tasks[task].classes))
            found = candidates(self._study.search, student, trained.training_on(task), method, loss)
            signals = loss.requests(layers)
            if any(one.method.requests(layers) != signals for one in found):
                raise CodekdError("a search cannot choose what is captured: define a method for each such setting")
            if config.signals is not None and not {one.kind for one in signals} <= {*config.signals}:
                needed = ", ".join(one.kind for one in signals)
                raise CodekdError(f"it needs {needed}, and this teacher gives {', '.join(config.signals)} alone")
            if loss.by_layer:
                teacher_layers(layers, config.layers)
        except CodekdError as error:
            raise CodekdError(f"grid: {method} for {student} from {teacher} on {task}: {error}") from None
        return found

    def _cell(self, task: str, teacher: str, student: str, method: str, seed: int) -> Node:
        first, *others = found = self._candidates(task, teacher, student, method)
        if not first.method.signals:
            teacher = NO_TEACHER
        cell = (task, teacher, student, method)
        if known := self._known("students", *cell, f"seed{seed}"):
            return known
        selected = {"selected": self._selected(cell, found)} if others else {}
        return self._student("students", cell, f"seed{seed}", first, seed, selected)

    def _selected(self, cell: tuple[str, str, str, str], found: Sequence[Candidate]) -> Node:
        """Choice among candidates by validation score; each trial is a node of its own."""
        if known := self._known("selected", *cell):
            return known
        seed = self._study.search.seed
        trials = {one.name: self._student("trials", cell, f"{one.name}-seed{seed}", one, seed) for one in found}
        spec = {
            "metric": self._study.tasks[cell[0]].metric,
            "candidates": [{"name": one.name, "settings": dict(one.chosen)} for one in found],
        }
        parents = {f"trials/{name}": trial for name, trial in trials.items()}
        return self._add("selected", cell, spec, ["codekd.training.selected"], parents)

    def _student(
        self,
        stage: str,
        cell: tuple[str, str, str, str],
        name: str,
        candidate: Candidate,
        seed: int,
        selected: Mapping[str, Node] | None = None,
    ) -> Node:
        """Training of a student, as a cell of the study (stage `students`) or as a trial of a search (`trials`)."""
        task, teacher, student, _ = cell
        trained = self._study.students[student]
        architecture, loss = trained.component, candidate.method
        spec = self._training_spec(task, architecture, candidate.training) | {
            "architecture": architecture.settings(),
            "method": loss.chosen(),
            "seed": seed,
        }
        requests = loss.requests(architecture.layers)
        if loss.transfer == "all" or loss.repeats_labelled:
            limits = [trained.unlabeled, *self._limit_of_states(task, requests).values()]
            if given := [limit for limit in limits if limit is not None]:
                spec["unlabeled"] = min(given)
        entries = [
            "codekd.training.student" if stage == "students" else "codekd.training.trial",
            components.module_name("students", architecture.kind),
            components.module_name("methods", loss.kind),
        ]
        parents = {"encoded": self._read_by_student(task, trained), **(selected or {})}
        if trained.start:
            parents["start"] = self._start(task, student)
        for signal in requests:
            captured = self._signal(task, teacher, signal)
            parents |= {f"signals/{signal.kind}": captured, f"verified/{signal.kind}": self._verified(captured)}
            if signal.unit in UNITS_OF_SYNTAX:
                parents["syntax"] = self._syntax(task)
        if loss.reuses_head:
            parents["teacher"] = self._teacher(task, teacher)
        return self._add(stage, (*cell, name), spec, entries, parents)

    def _limit_of_states(self, task: str, signals: Iterable[Signal]) -> dict[str, int]:
        """Entry of a spec that limits the unlabelled examples with hidden states, if the task has a limit."""
        limit = self._study.tasks[task].examples.unlabeled_states
        return {} if limit is None or not any(one.hidden_states for one in signals) else {"unlabeled_states": limit}

    def _read_by_student(self, task: str, student: Trained) -> Node:
        architecture = student.component
        if architecture.lexemes is not None:
            language, shape = self._study.tasks[task].language, self._input_spec(task)
            return self._lexed(self._examples(task), architecture.max_length, language, shape)
        tokenizer = self._tokenizer(task, architecture.vocabulary_size)
        return self._encoded(task, f"bpe{architecture.vocabulary_size}", tokenizer, architecture.max_length)

    def _inference(self, task: str, teacher: str, student: str, reuses_head: bool) -> Node:
        """Time, memory and size of serving a student, measured in turns with its teacher if that is a fine-tuned model.

        One job measures all missing nodes, one after another.
        """
        trained, config = self._study.students[student], self._study.tasks[task]
        spec = {
            "classes": len(config.classes),
            "pooling": trained.component.pooling_for(config.shape),
            "architecture": trained.component.settings(),
            "reuses_head": reuses_head,
        }
        entries = ["codekd.deploy.speed", components.module_name("students", trained.component.kind)]
        parents = {"examples": self._examples(task), "encoded": self._read_by_student(task, trained)}
        if self._study.teachers[teacher].component.trained:
            parents["teacher"] = fine_tuned = self._teacher(task, teacher)
            parents["teacher_encoded"] = fine_tuned.parents["encoded"]
        else:
            teacher = NO_TEACHER
        head = (REUSED_HEAD,) if reuses_head else ()
        return self._add("inference", (task, teacher, student, *head), spec, entries, parents)

    def _inferences(self, task: str) -> Iterator[tuple[str, Node]]:
        """Inference nodes of a task by role: every teacher and student, with each kind of head that methods give it."""
        grid = self._study.grid
        for teacher in grid.teachers:
            for student in grid.students:
                methods = (self._study.methods[name] for name in self._study.methods_of(student))
                for reuses_head in sorted({method.reuses_head for method in methods}):
                    head = f"/{REUSED_HEAD}" if reuses_head else ""
                    role = f"inference/{task}/{teacher}/{student}{head}"
                    yield role, self._inference(task, teacher, student, reuses_head)

    def _captured(self, logits: Node) -> dict[str, Node]:
        """Logits of a teacher, and those of its members if it is an ensemble, by role."""
        role = "/".join(("signals", *logits.coordinates))
        members = {name: one for name, one in logits.parents.items() if name.startswith("members/")}
        return {role: logits} | {f"{role}/{name}": one for name, one in members.items()}

    def _report(self) -> Node:
        grid = self._study.grid
        students = [name for name in grid.students if self._study.methods_of(name)]
        parents: dict[str, Node] = {}
        cells: dict[tuple[str | int, ...], None] = {}
        for task in grid.tasks:
            parents[f"examples/{task}"] = self._examples(task)
            parents[f"floors/{task}"] = self._floor(task)
            if self._study.inference:
                parents |= dict(self._inferences(task))
            for student in students:
                if self._study.students[student].start:
                    parents |= self._paid_for_start(task, student)
            for teacher in grid.teachers:
                parents[f"teachers/{task}/{teacher}"] = self._teacher(task, teacher)
                if self._study.taught_floor:
                    parents[f"floors/{task}/{teacher}"] = self._taught_floor(task, teacher)
                for student in students:
                    for method in self._study.methods_of(student):
                        for seed in grid.seeds:
                            cell = self._cell(task, teacher, student, method, seed)
                            key = (task, cell.coordinates[1], student, method, seed)
                            parents[f"students/{'/'.join(map(str, key))}"] = cell
                            if captured := cell.parents.get("signals/logits"):
                                parents |= self._captured(captured)
                            cells[key] = None
        spec = {
            "study": self._study.name,
            "tasks": {task: {**self._task_spec(task), "kind": self._study.tasks[task].kind} for task in grid.tasks},
            "students": {name: {"recurrent": self._study.students[name].component.recurrent} for name in students},
            "reuse_head": [name for name in grid.methods if self._study.methods[name].reuses_head],
            "teachers": [[task, teacher] for task in grid.tasks for teacher in grid.teachers],
            "cells": [list(cell) for cell in cells],
        }
        if controls := [name for name in grid.methods if self._study.methods[name].control]:
            spec["controls"] = controls
        return self._add("report", (self._study.name,), spec, ["codekd.analysis.report"], parents)
