"""Pinned wheels: a pip requirements file of names, exact versions and hashes.

Standard library and pydantic only: the Snakefile reads the lists when it is parsed.
"""

import re
from pathlib import Path

from pydantic import Field

from codekd.errors import CodekdError
from codekd.study.base import Model

LINE = re.compile(r"(?P<name>\S+?)==(?P<version>\S+)\s+--hash=sha256:(?P<sha256>\S+)")


class Pin(Model):
    """Pin of one wheel: name, version and SHA-256, so that two downloads of it have the same bytes."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Normalised project name.")
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.!+]*$", description="Exact version.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the wheel, hexadecimal.")

    @property
    def filename(self) -> str:
        """Name of the wheel's file in the folder of downloads, e.g. ``celery-5.7.0.whl``."""
        return f"{self.name}-{self.version}.whl"

    @property
    def requirement(self) -> str:
        """The pin as a line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def read_pins(path: Path) -> list[Pin]:
    """Pins of a requirements file, in its order; comments and empty lines are skipped.

    Raises:
        CodekdError: the file is missing, a line is not ``name==version --hash=sha256:...``, or a name is
            pinned twice; file and line are named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise CodekdError(f"{path}: no such list of pinned wheels") from None
    except (OSError, ValueError) as error:
        raise CodekdError(f"{path} cannot be read as a list of pinned wheels: {error}") from None
    pins: dict[str, Pin] = {}
    for number, line in enumerate(lines, start=1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        match = LINE.fullmatch(text)
        try:
            pin = Pin.model_validate(match.groupdict() if match else {})
        except ValueError:
            raise CodekdError(
                f"{path}, line {number}: {text!r} is not a pin; write"
                " name==version --hash=sha256:<64 hex digits> with the name in lower case and hyphens"
            ) from None
        if pin.name in pins:
            raise CodekdError(f"{path}, line {number}: {pin.name} is already pinned above; keep one version")
        pins[pin.name] = pin
    return list(pins.values())
