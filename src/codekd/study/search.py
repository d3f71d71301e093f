"""The candidates that a search chooses from: every combination of the values that a config gives."""

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
"""Letters of a name; what is cut, or written with other letters, is told apart by a digest."""


@dataclass(frozen=True)
class Candidate:
    """A student's training numbers and a method's settings, some of which were ``chosen`` by their names."""

    chosen: Mapping[str, Any]
    training: Training
    method: Any

    @property
    def name(self) -> str:
        """For people and paths, such as ``learning_rate-0.0003-temperature-4.0``; ``default`` without a choice."""
        if not self.chosen:
            return "default"
        text = "-".join(f"{key.split('.')[-1]}-{value}" for key, value in self.chosen.items())
        plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)
        if plain == text and len(plain) <= LONGEST:
            return plain
        return f"{plain[:LONGEST]}-{digest(dict(self.chosen))[:8]}"


def candidates(search: Search, student: str, training: Training, method: str, loss: Any) -> list[Candidate]:
    """All candidates for a student and a method, without those that come to the same; at least one.

    Raises:
        CodekdError: a value is not valid where it is to stand.
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
    """A model with the chosen values of its section, checked."""
    values = {key.removeprefix(section): value for key, value in chosen.items() if key.startswith(section)}
    try:
        return type(model).model_validate(model.model_dump() | values)
    except ValidationError as error:
        first = error.errors()[0]
        raise CodekdError(f"search: {section}{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
