"""What runs of a stack, for the next command to know, and for people to see."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StackRecord:
    """What a running stack is; kept as ``stack.json`` in the state directory. ``detectors`` are those to run."""

    config: str
    ports: dict[str, int]
    pids: dict[str, int] = field(default_factory=dict)
    detectors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `status`: name, process id, whether it runs, its memory [MB]."""

    name: str
    pid: int
    running: bool
    rss_mb: float
