"""Candidates of a search of settings: every combination of the values that a config gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from codekd.errors import CodekdError
from codekd.study.canonical import digest
from codekd.study.config import Search
from codekd.study.training import Training

LONGEST = 60
"""Maximum length of a candidate's name, in characters; names that are cut or altered get a digest."""


@dataclass(frozen=True)
class Candidate:
    """Candidate of a search: training numbers of a student and settings of a method.

    ``chosen`` are the values that the search varies, by names such as ``training.learning_rate``; ``method`` is the
    ``Config`` of the method.
    """

    chosen: Mapping[str, Any]
    training: Training
    method: Any

    @property
    def name(self) -> str:
        """Name for people and paths, e.g. ``learning_rate-0.0003-temperature-4.0``; ``default`` if nothing varies."""
        if not self.chosen:
            return "default"
        text = "-".join(f"{key.split('.')[-1]}-{value}" for key, value in self.chosen.items())
        plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)
        if plain == text and len(plain) <= LONGEST:
            return plain
        return f"{plain[:LONGEST]}-{digest(dict(self.chosen))[:8]}"


def candidates(search: Search, student: str, training: Training, method: str, loss: Any) -> list[Candidate]:
    """Candidates for a student and a method, without duplicates; at least one.

    Args:
        search: the values to try.
        student: name of the student.
        training: its training numbers on the task.
        method: name of the method.
        loss: ``Config`` of the method.

    Raises:
        CodekdError: a value is not valid for its setting.
    """
    numbers = search.students.get(student, search.training)
    settings = search.methods.get(method, {})
    names = [*(f"training.{name}" for name in numbers), *(f"method.{name}" for name in settings)]
    found: dict[tuple[str, ...], Candidate] = {}
    for values in product(*numbers.values(), *settings.values()):
        chosen = dict(zip(names, values, strict=True))
        changed = _changed(training, chosen, "training."), _changed(loss, chosen, "method.")
        found.setdefault(tuple(one.model_dump_json() for one in changed), Candidate(chosen, *changed))
    return list(found.values())


def _changed(model: Any, chosen: Mapping[str, Any], section: str) -> Any:
    """Model with the chosen values of its section, validated."""
    values = {key.removeprefix(section): value for key, value in chosen.items() if key.startswith(section)}
    try:
        return type(model).model_validate(model.model_dump() | values)
    except ValidationError as error:
        first = error.errors()[0]
        raise CodekdError(f"search: {section}{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
