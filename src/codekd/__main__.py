"""Entry point of ``python -m codekd``, the same as the command ``codekd``."""

from codekd.cli import app

app(prog_name="codekd")
