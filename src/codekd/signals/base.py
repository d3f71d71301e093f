"""What a method asks of a teacher. Light: the Snakefile imports it."""

from typing import ClassVar

from pydantic import Field

from codekd.study.base import Model


class Signal(Model):
    """A kind of signal and the settings that its content depends on."""

    hidden_states: ClassVar[bool] = False
    """Whether it is made of the teacher's states and not of its logits alone."""

    by_unit: ClassVar[bool] = False
    """Whether it has a row for every unit of an example, and not one for the example."""

    kind: str = Field(description="Module in codekd.signals.")

    @property
    def name(self) -> str:
        """Names its folder, settings included."""
        return self.kind

    @property
    def by_lexeme(self) -> bool:
        """Whether its units are lexemes, which must be known then."""
        return False
