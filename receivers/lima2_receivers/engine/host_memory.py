"""How much memory this process may use at most: that of the host, or what its container or service is limited to."""

from __future__ import annotations

import os
from pathlib import Path

#: Part of it that a receiver uses for frames when nothing else is configured.
DEFAULT_SHARE = 0.5


def usable_bytes(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Physical memory of the host [bytes], or the lowest limit of the control groups (version 2) of this process."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        inside = next(line.split("::", 1)[1].strip() for line in cgroup.read_text().splitlines() if "::" in line)
    except (OSError, StopIteration):
        return limits[0]
    place = root / inside.lstrip("/")
    for directory in (place, *place.parents):
        try:
            limits.append(int((directory / "memory.max").read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)


def default_budget_bytes() -> int:
    """Memory for frames [bytes] when none is configured: half of what can be used."""
    return int(usable_bytes() * DEFAULT_SHARE)
