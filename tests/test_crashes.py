"""Studies that are killed, and studies that share a folder: what they leave is what one alone would have left."""

import time
from pathlib import Path

from crashes import SMALL, Victim, manifests

KILLS = 2


def test_studies_that_share_a_folder_and_studies_that_are_killed_end_alike(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "study", seed=4, config=SMALL)
    second = victim.project.path.with_name("second.yaml")
    second.write_text(SMALL.replace("name: small", "name: second").replace("methods: [ft, kd]", "methods: [kd]"))
    runs = [victim.start(), victim.start("config/second.yaml")]
    seen: dict[Path, bytes] = {}
    while any(run.poll() is None for run in runs):
        seen |= {path: path.read_bytes() for path in manifests(victim.project.results) if path not in seen}
        time.sleep(0.2)
    assert [run.returncode for run in runs] == [0, 0], (victim.project.folder / "run.log").read_text()[-3000:]
    assert all(path.read_bytes() == content for path, content in seen.items()), "shared nodes are computed once"

    victim.project.results.rename(tmp_path / "shared")
    found = victim.disturb(KILLS, expected=tmp_path / "shared")
    assert found.kills == KILLS and found.of_master > 0
    assert found.differing == found.computed_twice == []
