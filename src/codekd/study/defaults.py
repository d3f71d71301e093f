"""Default values of settings, which the specs of nodes leave out."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError

from codekd.errors import CodekdError
from codekd.models.teachers.base import Adaptation
from codekd.signals import base as signals
from codekd.study import components
from codekd.study.base import Model
from codekd.study.training import Training

READ: dict[str, Callable[[Any], Model]] = {
    "adaptation": Adaptation.model_validate,
    "architecture": partial(components.parse, "students"),
    "method": partial(components.parse, "methods"),
    "signal": signals.parse,
    "start": partial(components.parse, "starts"),
    "task": partial(components.parse, "tasks"),
    "training": Training.model_validate,
}
"""Function that reads settings, by their key in a spec."""


def with_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Spec of a node with the defaults of its settings filled in; settings that cannot be read stay as they are."""
    found = dict(spec)
    for key in spec.keys() & READ.keys():
        try:
            settings = READ[key](spec[key]).model_dump(mode="json")
        except (ValidationError, CodekdError, KeyError, TypeError):
            continue
        found[key] = settings | {name: value for name, value in spec[key].items() if name not in settings}
    return found
