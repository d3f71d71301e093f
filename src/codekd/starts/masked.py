"""Masked language modelling (Devlin et al. 2019, arXiv 1810.04805), the control of starts with a teacher.

Turc et al. 2019 (arXiv 1908.08962) found that its gain and that of distillation on a task add up.
"""

from typing import Literal

from codekd.starts.base import TrainedStart


class Config(TrainedStart):
    """``CE`` of hidden tokens, guessed by the token embeddings from the student's last states."""

    kind: Literal["masked"] = "masked"
