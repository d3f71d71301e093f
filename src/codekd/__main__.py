"""``python -m codekd``: the same as ``codekd``."""

from codekd.cli import app

app(prog_name="codekd")
