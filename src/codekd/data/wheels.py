"""Download of pinned wheels by pip into a folder that several checkouts may share, and their verification."""

import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

from filelock import FileLock

from codekd.data.pins import Pin
from codekd.errors import CodekdError
from codekd.files import put
from codekd.progress import track

CHUNK = 8
THREADS = 2
PIP_DOWNLOAD = (
    *("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"),
    *("--only-binary=:all:", "--ignore-requires-python", "--require-hashes"),
)
MISMATCH = re.compile(r"(?P<what>\S+==\S+|\S+\.whl).*?Expected sha256 +(?P<expected>\w+)\s+Got +(?P<found>\w+)", re.S)
OFFLINE = re.compile(r"Connection|Max retries|timed out|getaddrinfo")
TEMPORARY = ".download-"


def resources_folder() -> Path:
    """Folder of downloads: ``$CODEKD_RESOURCES``, or ``resources`` in the working folder."""
    return Path(os.environ.get("CODEKD_RESOURCES") or "resources")


def fetch(pins: Sequence[Pin], folder: Path, description: str) -> list[Path]:
    """Download the pinned wheels that are missing, and return the paths of all, in the order of the pins.

    Every file is verified, and a corrupt one replaced. Wheels are downloaded in chunks, and are moved into place when
    their chunk is complete: an interruption loses the unfinished chunks at most.

    Args:
        pins: of the wheels.
        folder: folder of downloads; wheels are in ``wheels`` below it.
        description: what the progress bar is about.

    Raises:
        CodekdError: a wheel could not be downloaded, is not the pinned one, or does not fit on the disk.
    """
    wheels = folder / "wheels"
    if _missing(pins, wheels):
        try:
            wheels.mkdir(parents=True, exist_ok=True)
            with FileLock(wheels / ".lock"):
                for left_behind in wheels.glob(f"{TEMPORARY}*"):
                    rmtree(left_behind, ignore_errors=True)
                _download_all(_missing(pins, wheels), wheels, description)
        except (PermissionError, FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            raise CodekdError(
                f"downloads cannot be kept in {wheels}: {error.strerror}; name another folder with $CODEKD_RESOURCES"
            ) from None
    return [wheels / pin.filename for pin in pins]


def open_wheel(path: Path, pin: Pin) -> zipfile.ZipFile:
    """Read a wheel into memory as a zip file, after its SHA-256 is compared with the pinned one.

    Raises:
        CodekdError: the content is not the pinned one.
        zipfile.BadZipFile: the content is the pinned one, and is no zip file.
    """
    content = path.read_bytes()
    found = sha256(content).hexdigest()
    if found != pin.sha256:
        raise _wrong_hash(f"{pin.name}=={pin.version} in {path}", pin.sha256, found)
    return zipfile.ZipFile(io.BytesIO(content))


def _missing(pins: Sequence[Pin], wheels: Path) -> list[Pin]:
    return [pin for pin in pins if not _is_pinned(wheels / pin.filename, pin)]


def _is_pinned(path: Path, pin: Pin) -> bool:
    return path.is_file() and sha256(path.read_bytes()).hexdigest() == pin.sha256


def _download_all(pins: Sequence[Pin], wheels: Path, description: str) -> None:
    chunks = list(_chunks(pins))
    with ThreadPoolExecutor(THREADS) as pool:
        downloads = [pool.submit(_download, chunk, wheels) for chunk in chunks]
        try:
            for download in track(
                as_completed(downloads),
                len(downloads),
                f"{description}: downloading {len(pins)} wheels",
                "chunk",
            ):
                download.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _chunks(pins: Sequence[Pin]) -> Iterator[list[Pin]]:
    """Groups of pins for one call of pip each; no group has two versions of a project, which pip refuses."""
    rest = list(pins)
    while rest:
        chunk = list({pin.name: pin for pin in reversed(rest)}.values())[::-1][:CHUNK]
        yield chunk
        rest = [pin for pin in rest if pin not in chunk]


def _download(pins: Sequence[Pin], wheels: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=wheels) as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text("".join(f"{pin.requirement}\n" for pin in pins), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *PIP_DOWNLOAD, "-d", name, "-r", str(requirements)],
            env=os.environ | {"TMPDIR": name},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise _failure(done.stderr, pins, wheels)
        found = {sha256(path.read_bytes()).hexdigest(): path for path in folder.glob("*.whl")}
        for pin in pins:
            if pin.sha256 not in found:
                raise CodekdError(f"pip delivered no wheel with the pinned hash for {pin.name}=={pin.version}")
            put(found[pin.sha256], wheels / pin.filename)


def _failure(stderr: str, pins: Sequence[Pin], wheels: Path) -> CodekdError:
    """Error that says what pip's output means for the user."""
    if "No space left on device" in stderr:
        return CodekdError(f"no space left on the disk of {wheels.resolve()}: the wheels need about 0.3 GB")
    if mismatch := MISMATCH.search(stderr):
        return _wrong_hash(mismatch["what"], mismatch["expected"], mismatch["found"])
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if OFFLINE.search(line)] or [line for line in lines if line.startswith("ERROR")]
    said = (telling or lines or ["nothing"])[-1]
    return CodekdError(
        f"pip could not download {', '.join(pin.filename for pin in pins)}: it said {said!r}. "
        f"Connect to a package index, or put files with these names into {wheels.resolve()}"
    )


def _wrong_hash(what: str, expected: str, found: str) -> CodekdError:
    return CodekdError(
        f"{what} is not the pinned file: expected sha256 {expected}, found {found}. "
        "Remove the file if it was put there by hand; otherwise the package index delivers something else"
        " than what was pinned: do not use it"
    )
