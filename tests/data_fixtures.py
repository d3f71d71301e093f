"""Fixtures of the data tests: wheels that are downloaded once, and the corpora made of them."""

import os
from pathlib import Path

import pytest
from data_stages import pins, run_stage


@pytest.fixture(scope="session")
def resources() -> Path:
    """Where downloads are kept: as for a study, so that each is made once."""
    os.environ.setdefault("CODEKD_RESOURCES", str(Path(__file__).parents[1] / "resources"))
    return Path(os.environ["CODEKD_RESOURCES"])


@pytest.fixture(scope="session")
def corpora(resources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both corpora of three small packages."""
    folder = tmp_path_factory.mktemp("corpora")
    for name in ("current", "previous"):
        run_stage("codekd.data.corpus", folder / name, {"wheels": [pin.model_dump() for pin in pins(name)]})
    return {name: folder / name for name in ("current", "previous")}
