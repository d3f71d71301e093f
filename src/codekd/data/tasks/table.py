"""Classification of code, or of pairs of code, from files of your own: CSV, JSON Lines or Parquet.

The format of a file is told from its name. There are files for each split, or files for all of them, whose examples are
put into train, valid and test by their groups.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from codekd.data.sources import COMPRESSED, FORMATS, files_at, format_of
from codekd.data.tasks.base import FileTask, Language
from codekd.errors import CodekdError
from codekd.study.base import Model

if TYPE_CHECKING:
    import polars as pl


Paths = str | list[str]


class Files(Model):
    """Paths of files, or patterns such as ``data/*.csv``, relative to the config file."""

    all: Paths | None = Field(None, description="Files, whose groups are put into train, valid and test.")
    train: Paths | None = Field(None, description="Labelled examples to learn from.")
    valid: Paths | None = Field(None, description="Labelled examples that choose the best epoch.")
    test: Paths | None = Field(None, description="Labelled examples for the scores.")
    unlabeled: Paths | None = Field(None, description="Examples without a label that the teacher labels.")

    @field_validator("*")
    @classmethod
    def _known_format(cls, paths: Paths | None) -> Paths | None:
        for path in listed(paths):
            if format_of(path) is None:
                raise ValueError(
                    f"{path}: the name must end in {', '.join(FORMATS)}, and all but Parquet may be compressed "
                    f"({', '.join(COMPRESSED)})"
                )
        return paths

    @model_validator(mode="after")
    def _complete(self) -> Self:
        parts = (self.train, self.valid, self.test)
        if (self.all is None) != all(parts) or (self.all and any(parts)):
            raise ValueError("needs either `all: PATH` or one each of `train`, `valid` and `test`")
        return self


class Config(FileTask):
    """Classification of code, or of pairs of code, from files of your own."""

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
        """Names of the one or two columns of code of the examples."""
        return ("code",) if isinstance(self.code, str) else ("code_a", "code_b")

    @property
    def has_hole(self) -> bool:  # type: ignore[override]
        """Whether the code has a ``__HOLE__``, as ``hole`` says."""
        return self.hole

    @model_validator(mode="after")
    def _one_piece_with_a_hole(self) -> Self:
        read = [self.label, *([self.code] if isinstance(self.code, str) else self.code)]
        if len(set(read)) < len(read):
            raise ValueError(f"`code` and `label` are different columns, and not {', '.join(read)}")
        if self.hole and len(self.columns) == 2:
            raise ValueError("`hole` is for one column of code")
        if abs(sum(self.shares) - 1) > 1e-6 or min(self.shares) <= 0:
            raise ValueError("`shares` must be positive and sum to 1")
        return self

    def local_files(self, folder: Path) -> dict[str, list[Path]]:
        """Files by role; relative paths start from ``folder``, that of the config file.

        Raises:
            CodekdError: no file fits a pattern.
        """
        found: dict[str, list[Path]] = {}
        for role, paths in self.files.model_dump(exclude_none=True).items():
            for pattern in listed(paths):
                if not (files := files_at(folder, pattern)):
                    raise CodekdError(f"no file is called {folder / pattern}")
                found.setdefault(role, []).extend(files)
        return found

    def shared_out(self, rows: Mapping[str, int]) -> dict[str, int]:
        """Approximate number of examples of each split, from the number of rows in the files of each role."""
        parts = dict(zip(("train", "valid", "test"), self.shares, strict=True))
        found = {part: round(share * rows.get("all", 0)) + rows.get(part, 0) for part, share in parts.items()}
        return found | {"unlabeled": rows.get("unlabeled", 0)}

    def spec(self) -> dict[str, Any]:
        """Values of the config that determine the examples; of the files only their roles and formats."""
        roles = self.files.model_dump(exclude_none=True)
        formats = {role: sorted({f"*.{format_of(path)}" for path in listed(paths)}) for role, paths in roles.items()}
        return super().spec() | {"files": formats}


def listed(paths: Paths | None) -> list[str]:
    """List of one path, of several, or of none."""
    return [paths] if isinstance(paths, str) else paths or []


def read(config: Config, files: Mapping[str, Sequence[Path]]) -> "tuple[dict[str, pl.DataFrame], dict[str, int]]":
    """Frames by split with the columns of code, ``label`` and ``group``, and rows left out by reason.

    Args:
        config: of the task.
        files: paths by role: a split, or ``all``.
    """
    from codekd.data.tasks import _table

    return _table.read(config, files)
