"""Tuning of hit finding: the SMX pipeline's finder over frames at hand, with many settings, side by side."""

from lima2_receivers.tuning.comparison import tune
from lima2_receivers.tuning.frame_stack import FrameStack, open_stack
from lima2_receivers.tuning.grid import parameter_names, parse_assignments
from lima2_receivers.tuning.report import Row, TuningReport

__all__ = [
    # frames
    "FrameStack",
    "open_stack",
    # settings
    "parameter_names",
    "parse_assignments",
    # results
    "Row",
    "TuningReport",
    "tune",
]
