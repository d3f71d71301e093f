"""A copy of the project in a folder of its own, where Snakemake runs as users run it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "config", "envs", "profiles", "src", "workflow")


class Checkout:
    """Its results are its own; downloads are shared."""

    def __init__(self, folder: Path, config: str = "config/smoke.yaml") -> None:
        self.folder, self.config = folder, config
        folder.mkdir(exist_ok=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / "results"

    def command(self, *arguments: str, config: str | None = None) -> list[str]:
        """That runs Snakemake on a config."""
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", config or self.config]

    def start(self, *arguments: str, config: str | None = None, **settings: object) -> subprocess.Popen[str]:
        """Run it."""
        return self.run(self.command(*arguments, config=config), **settings)

    def run(self, command: list[str], **settings: object) -> subprocess.Popen[str]:
        """Run a command in the folder."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment.setdefault("CODEKD_RESOURCES", str(ROOT / "resources"))
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command, cwd=self.folder, env=environment, text=True, **settings
        )

    def snakemake(self, *arguments: str, config: str | None = None, check: bool = True) -> str:
        """What it says."""
        run = self.start(*arguments, config=config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = run.communicate()
        assert not check or run.returncode == 0, said[-5000:]
        return said

    def would_run(self, config: str | None = None) -> set[str]:
        """Stage and coordinates of the nodes that ``snakemake -n`` would make."""
        said = self.snakemake("-n", "all", config=config)
        lines = " ".join(re.findall(r"Missing output files: (.*)", said))
        found = set(re.findall(r"results/(\S+)-[0-9a-f]{12}/manifest.json", lines))
        assert bool(found) != ("Nothing to be done" in said), said[-1000:]
        return found
