"""Energy from counters that a test writes in the place of the machine's."""

from pathlib import Path

import pytest

from codekd.training.energy import Meter


def zone(powercap: Path, name: str, called: str, microjoules: int, limit: int = 999_999_999) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{called}\n")
    (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def test_packages_are_added_and_what_is_within_them_or_around_them_is_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    inner, around = zone(tmp_path, "intel-rapl:0:0", "core", 1), zone(tmp_path, "intel-rapl:2", "psys", 1)
    meter = Meter(tmp_path)
    for counter in (first, second, inner, around):
        counter.write_text(str(int(counter.read_text()) + 2_000_000))
    assert meter.joules() == pytest.approx(4.0)


def test_a_counter_that_starts_over_goes_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 900, limit=999)
    meter = Meter(tmp_path)
    for reading in (100, 950, 50):  # 200, 850 and 100 more
        counter.write_text(str(reading))
        used = meter.joules()
    assert used == pytest.approx(1150e-6)


def test_a_machine_without_counters_says_nothing(tmp_path: Path) -> None:
    assert Meter(tmp_path).joules() is None
    closed = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    closed.unlink()  # as for a user who may not read it
    assert Meter(tmp_path).joules() is None
