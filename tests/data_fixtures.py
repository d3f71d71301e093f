"""Fixtures of the data tests: wheels that are downloaded once, and the corpora made of them."""

import os
from pathlib import Path

import pytest
from data_stages import pins, run_stage


@pytest.fixture(scope="session")
def resources(request: pytest.FixtureRequest) -> Path:
    """``$CODEKD_RESOURCES``, or a folder that survives between runs of the tests."""
    cache = request.config.cache
    assert cache is not None
    os.environ.setdefault("CODEKD_RESOURCES", str(cache.mkdir("codekd-resources")))
    return Path(os.environ["CODEKD_RESOURCES"])


@pytest.fixture(scope="session")
def corpora(resources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both corpora of three small packages."""
    folder = tmp_path_factory.mktemp("corpora")
    for name in ("current", "previous"):
        run_stage("codekd.data.corpus", folder / name, {"wheels": [pin.model_dump() for pin in pins(name)]})
    return {name: folder / name for name in ("current", "previous")}
