"""What the last acquisition gave, and how it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lima2_bliss.client import AcquisitionStatus
from lima2_bliss.controller.hits import HitSummary, vetoed
from lima2_bliss.controller.rate import ImageRate
from lima2_bliss.publishing.publication_status import PublicationStatus

#: Of what receivers count beside frames: told also when it is 0; of no interest to users, even when it is not.
_ALWAYS_TOLD = ("packets_received", "packets_missing")
_NEVER_TOLD = ("placed", "misplaced")


@dataclass
class Outcome:
    """What the last acquisition gave, for the user to see; ``files`` are the master files by frame source."""

    uuid: str = ""
    expected: int = 0
    status: AcquisitionStatus | None = None
    files: dict[str, Path] = field(default_factory=dict)
    error: str = ""
    hits: HitSummary | None = None
    publication: PublicationStatus | None = None
    rate: ImageRate = field(default_factory=ImageRate)
    #: Master files that are not written yet: the scan ended before its images were saved.
    pending: dict[str, Path] = field(default_factory=dict)


def count_lines(outcome: Outcome) -> Sequence[str]:
    """The last acquisition as lines for `__info__`."""
    status = outcome.status
    if status is None:
        return ["none"]
    expected = f"of {outcome.expected}" if outcome.expected else "until stopped"
    # a receiver that was killed has taken its unfinished file with it: what counts then is what can be read
    saved = status.readable if outcome.files or outcome.error else status.saved
    lines = [f"{status.processed} images processed {expected}, {max(saved - status.vetoed, 0)} {_saved_words(outcome)}"]
    faults = {"frames lost": status.lost, "frames invalid": status.invalid}
    lines[0] += "".join(f", {number} {what}" for what, number in faults.items() if number) or ", none lost"
    left_out = vetoed(status)
    if left_out:
        lines.append("not to be saved: " + ", ".join(f"{number} of {source}" for source, number in left_out.items()))
    lines += intake_lines(status)
    lines += [] if outcome.hits is None else outcome.hits.lines()
    lines += file_lines(outcome)
    if outcome.error:
        lines.append(f"error: {outcome.error}")
    return lines


def intake_lines(status: AcquisitionStatus) -> Sequence[str]:
    """What the receivers counted beside frames (packets, ...), one line for each kind, and what is odd about it."""
    kinds: dict[str, list[str]] = {}
    for name, count in status.intake.items():
        kind, _, what = name.partition("_")
        if f"{kind}_{what}" in _ALWAYS_TOLD or (count and what not in _NEVER_TOLD and kind != "frames"):
            kinds.setdefault(kind, []).append(f"{count} {what.replace('_', ' ')}")
    lines = [f"{kind}: {', '.join(words)}" for kind, words in kinds.items()]
    return [*lines, *(f"warning: {text}" for text in status.warnings)]


def _saved_words(outcome: Outcome) -> str:
    """What is counted as saved: the full frames, if any were to be saved."""
    if not outcome.files or "frame" in outcome.files:
        return "saved"
    return f"saved of {next(iter(outcome.files))}"


def rate_lines(outcome: Outcome) -> Sequence[str]:
    """How many images were processed, how fast they came, and how many frames were lost, in one line."""
    status = outcome.status
    if status is None:
        return []
    line = f"{status.processed} {'image' if status.processed == 1 else 'images'}"
    if outcome.rate.mean is not None:
        line += f" in {outcome.rate.duration_s:.3g} s, {outcome.rate.mean:.4g} images/s"
    return [line + (f", {status.lost} frames lost" if status.lost else "")]


def file_lines(outcome: Outcome) -> Sequence[str]:
    """The master files, each with the frame source that it holds if there are several."""
    if outcome.pending:
        paths = ", ".join(str(path) for path in outcome.pending.values())
        return [f"images are still being saved; when complete they are in {paths}"]
    if len(outcome.files) == 1:
        return [f"file: {path}" for path in outcome.files.values()]
    width = max((len(source) for source in outcome.files), default=0)
    return [f"file of {source + ':':<{width + 1}} {path}" for source, path in outcome.files.items()]
