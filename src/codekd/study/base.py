"""Base class of the models of the config."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Immutable pydantic model that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def chosen(self, exclude: Any = None) -> dict[str, Any]:
        """Values that differ from their defaults, and the ``kind`` if there is one, as types of JSON.

        The spec of a node holds these values alone, and the node reads them as this model again: so a new setting whose
        default does nothing changes no identity. The defaults are part of the source that the node runs.

        Args:
            exclude: fields to leave out, as for ``model_dump`` of pydantic.
        """
        values = self.model_dump(mode="json", exclude_defaults=True, exclude=exclude)
        kind = getattr(self, "kind", None)
        return values if kind is None else {"kind": kind} | values
