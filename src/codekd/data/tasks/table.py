"""Any classification of code, or of pairs of code, out of files of one's own: CSV, JSON Lines or Parquet.

Files are told apart by their names. Either there is one for each split, or one for all, whose examples are put into
train, valid and test by a hash of their group.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from codekd.data.tasks.base import FileTask, Language
from codekd.study.base import Model

if TYPE_CHECKING:
    import polars as pl

FORMATS = (".jsonl", ".csv", ".parquet")


class Files(Model):
    """Paths of the files, relative to the config file."""

    all: str | None = Field(None, description="One file, whose groups are put into train, valid and test.")
    train: str | None = Field(None, description="Labelled examples to learn from.")
    valid: str | None = Field(None, description="Labelled examples that choose the best epoch.")
    test: str | None = Field(None, description="Labelled examples for the scores.")
    unlabeled: str | None = Field(None, description="Examples without a label that the teacher labels.")

    @field_validator("*")
    @classmethod
    def _known_format(cls, path: str | None) -> str | None:
        if path is not None and not path.endswith(FORMATS):
            raise ValueError(f"the name must end in {', '.join(FORMATS)}")
        return path

    @model_validator(mode="after")
    def _complete(self) -> Self:
        parts = (self.train, self.valid, self.test)
        if (self.all is None) != all(parts) or (self.all and any(parts)):
            raise ValueError("needs either `all: PATH` or one each of `train`, `valid` and `test`")
        return self


class Config(FileTask):
    """A task of one's own."""

    kind: Literal["table"] = "table"
    files: Files = Field(description="Where the examples are.")
    code: str | tuple[str, str] = Field("code", description="Column with the code, or the two of a pair.")
    label: str = Field("label", description="Column with the class, by its name or its number from 0.")
    group: str | None = Field(
        None, description="Column with what an example belongs to, such as its project: no group is in two splits."
    )
    shares: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="Shares of the groups of one file for all that go to train, valid and test."
    )
    hole: bool = Field(False, description="Whether the question is what stood at the one `__HOLE__` of the code.")
    language: Language = Field("plain", description="Grammar that finds lexemes and trees; plain does for any text.")  # type: ignore[misc]
    metric: Literal["accuracy", "f1", "macro_f1"] = Field("accuracy", description="Chooses the best epoch.")

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """One or two columns of code."""
        return ("code",) if isinstance(self.code, str) else ("code_a", "code_b")

    @property
    def has_hole(self) -> bool:  # type: ignore[override]
        """Whether the code has a ``__HOLE__``."""
        return self.hole

    @model_validator(mode="after")
    def _one_piece_with_a_hole(self) -> Self:
        if self.hole and len(self.columns) == 2:
            raise ValueError("`hole` is for one column of code")
        if abs(sum(self.shares) - 1) > 1e-6 or min(self.shares) <= 0:
            raise ValueError("`shares` must be positive and sum to 1")
        return self

    def local_files(self, folder: Path) -> dict[str, list[Path]]:
        """One file a role."""
        return {role: [folder / path] for role, path in self.files.model_dump(exclude_none=True).items()}

    def spec(self) -> dict[str, Any]:
        """Of the files only which there are."""
        roles = self.files.model_dump(exclude_none=True)
        return super().spec() | {"files": {role: Path(path).suffix for role, path in roles.items()}}


def read(config: Config, files: Mapping[str, Sequence[Path]]) -> "tuple[dict[str, pl.DataFrame], dict[str, int]]":
    """Frames by split, and how many rows were left out for what."""
    from codekd.data.tasks import _table

    return _table.read(config, files)
