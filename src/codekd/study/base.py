"""The base of every model in the config."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Immutable, and refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def chosen(self, exclude: Any = None) -> dict[str, Any]:
        """The values that are not the defaults, and the ``kind`` of what has one, as JSON has them.

        They stand in the spec of a node, which reads them as this model again: so a setting that is new, and does
        nothing by default, makes no other node. What a default is, is in the source that the node runs.
        """
        values = self.model_dump(mode="json", exclude_defaults=True, exclude=exclude)
        kind = getattr(self, "kind", None)
        return values if kind is None else {"kind": kind} | values
