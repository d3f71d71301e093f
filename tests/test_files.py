"""What is renamed into place is on the disk before it has its name."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from data_stages import job_of

from codekd.data.rows import Fixed
from codekd.signals import capture
from codekd.study.manifest import publish, write_manifest
from codekd.training import checkpoint


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were renamed; each has been synced before, and its folder after."""
    synced: list[int] = []
    names: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def record(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    def checked(source: Path, target: Path) -> Path:
        assert source.stat().st_ino in synced, f"{source} may be lost"
        synced.clear()
        names.append(target.name)
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(Path, "replace", checked)
    return names


def test_a_node(renamed: list[str], tmp_path: Path) -> None:
    work, folder = tmp_path / "work", tmp_path / "node"
    (work / "figures").mkdir(parents=True)
    for name in ("metrics.json", "figures/a.svg"):
        (work / name).write_text(name)
    publish(work, folder, {"files": {"metrics.json": {}, "figures/a.svg": {}}})
    assert [name for name in renamed if name != "manifest.json"] == ["metrics.json", "a.svg"]
    assert renamed[-1] == "manifest.json"


def test_a_manifest_that_is_there_is_replaced_at_once(renamed: list[str], tmp_path: Path) -> None:
    write_manifest(tmp_path, {"files": {}})
    assert renamed == ["manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == renamed


def test_a_checkpoint(renamed: list[str], tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"model": {"weight": torch.ones(2)}}, [])
    assert renamed == [checkpoint.FILE]


def test_a_shard_of_signals(renamed: list[str], tmp_path: Path) -> None:
    (tmp_path / "logits").mkdir()
    job = job_of("signals", tmp_path / "logits", {"signal": {"kind": "logits"}}, {})
    one = capture._Capture(job, tmp_path / "logits")
    one.write("train", 0, ["a"], Fixed(np.zeros((1, 2), dtype=np.float32)))
    one.finish()
    assert renamed == ["train-00000.parquet"] * 2
