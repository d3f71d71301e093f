"""The base of every model in the config."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Immutable, and refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
