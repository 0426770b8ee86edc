"""What the shell shows of a scan in which detectors set the pace: a line for each of them, and how it ended.

All numbers are those that the scan's own watch of the receivers knows already; showing them asks nobody for anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bliss.scanning.scan import ScanState
from bliss.scanning.scan_progress import ScanProgress

from lima2_bliss.client import Acquisition, AcquisitionStatus
from lima2_bliss.contract.parameters import LegacyParameters
from lima2_bliss.controller.acquisition_objects import Lima2AcquisitionMaster

_STATES = {ScanState.STARTING: ("class:info", "RUNNING"), ScanState.USER_ABORTED: ("class:danger", "ABORTED")}
_STYLES = {ScanState.DONE: "class:success", ScanState.KILLED: "class:danger"}

#: Buffers this full are worth a look, and frames will be lost soon.
_FULL, _NEARLY_LOST = 0.5, 0.8

#: A piece of text and its style, as prompt_toolkit has it.
Cell = tuple[str, str]


@dataclass(frozen=True)
class ImagesTaken:
    """What a detector has done so far; ``wanted`` 0 is endless, ``hits`` None when nobody looks for any.

    ``rate`` [images/s] and ``left_s`` are None while they are not known. ``fill`` is the share of the places for frames
    that wait which are taken, 0 to 1, on the receiver that has the fewest left.
    """

    name: str
    images: int
    wanted: int
    rate: float | None = None
    left_s: float | None = None
    hits: int | None = None
    fill: float = 0.0
    lost: int = 0


def fullest(acquisition: Acquisition, status: AcquisitionStatus) -> float:
    """Share of the places for frames that wait, to be processed or saved, that are taken on the fullest receiver."""
    places = (acquisition.processing_parameters.get("fifo") or {}).get("nb_fifo_frames")
    places = places or LegacyParameters().fifo.nb_fifo_frames
    saves_images = "frame" in acquisition.master_files
    held = [0]
    for receiver in status.receivers:
        counts = receiver.counts
        unsaved = counts.processed + counts.invalid - counts.saved if saves_images else 0
        held.append(max(counts.waiting, unsaved))
    return min(max(held) / places, 1.0)


def images_taken(master: Lima2AcquisitionMaster) -> ImagesTaken:
    """What the detector of ``master`` has done so far."""
    acquisition, outcome, request = master.acquisition, master.outcome, master.request
    status = None if outcome is None else outcome.status
    if acquisition is None or outcome is None or status is None:
        return ImagesTaken(master.name, 0, request.nb_images)
    left = request.nb_images - status.processed if request.nb_images else 0
    ended = request.nb_images and left <= 0
    rate = outcome.rate.mean if ended else outcome.rate.present()
    return ImagesTaken(
        name=master.name,
        images=status.processed,
        wanted=request.nb_images,
        rate=rate,
        left_s=left / rate if left > 0 and rate else None,
        hits=status.hits if master.finds_hits else None,
        fill=fullest(acquisition, status),
        lost=status.lost,
    )


def duration_text(seconds: float) -> str:
    """A time to wait as ``4 s``, ``2:05`` (minutes) or ``3:02:05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rate_text(rate: float) -> str:
    """A rate with the digits that matter."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


def _buffer(taken: ImagesTaken) -> Cell:
    style = "class:danger" if taken.fill >= _NEARLY_LOST else "class:warning" if taken.fill >= _FULL else ""
    return style, f"{taken.fill:.0%}"


def _hits(taken: ImagesTaken) -> Cell:
    if taken.hits is None:
        return "", ""
    return "", f"{taken.hits} ({taken.hits / taken.images:.1%})" if taken.images else "0"


def _images(taken: ImagesTaken) -> Cell:
    return "", f"{taken.images:>{len(str(taken.wanted))}}/{taken.wanted}" if taken.wanted else f"{taken.images}"


def _done(taken: ImagesTaken) -> Cell:
    return "", f"{taken.images / taken.wanted:.0%}" if taken.wanted else ""


#: Heading and content of each column; those without any content are left out.
_COLUMNS: Sequence[tuple[str, Callable[[ImagesTaken], Cell]]] = (
    ("images", _images),
    ("done", _done),
    ("images/s", lambda taken: ("", "" if taken.rate is None else rate_text(taken.rate))),
    ("hits", _hits),
    ("left", lambda taken: ("", "" if taken.left_s is None else duration_text(taken.left_s))),
    ("buffer", _buffer),
    ("lost", lambda taken: ("class:danger", f"{taken.lost}" if taken.lost else "")),
)
#: What is left out first where the terminal is too narrow.
_DISPENSABLE = ("done", "state")
_GAP = 2


def progress_table(title: str, state: Cell, detectors: Sequence[ImagesTaken], width: int) -> list[list[Cell]]:
    """Lines of styled cells, each as wide as its column: headings, then one line for each detector."""
    columns = [[("class:header", title), *(("", each.name) for each in detectors)]]
    columns.append([("class:header", "state"), state, *[("", "")] * (len(detectors) - 1)])
    for heading, content in _COLUMNS:
        cells = [content(each) for each in detectors]
        if heading == "images" or any(text for _, text in cells):
            columns.append([("class:header", heading), *cells])
    widths = [max(len(text) for _, text in column) for column in columns]
    for heading in _DISPENSABLE:
        if sum(widths) + _GAP * (len(widths) - 1) > width:
            place = next((place for place, column in enumerate(columns) if column[0][1] == heading), None)
            if place is not None:
                del columns[place], widths[place]
    first, *others = widths
    lines = []
    for row in zip(*columns, strict=True):
        line = [(row[0][0], f"{row[0][1]:<{first}}")]
        line += [(style, f"{text:>{size + _GAP}}") for (style, text), size in zip(row[1:], others, strict=True)]
        lines.append(line)
    return lines


class ImagesProgress(ScanProgress):
    """Shows in the shell what each detector of the scan has taken, how fast, and how well its receivers keep up."""

    USE_TEXTBLOCK = True

    @property
    def _detectors(self) -> list[Lima2AcquisitionMaster]:
        return [each for each in self.acq_objects if isinstance(each, Lima2AcquisitionMaster)]

    def scan_new_callback(self) -> None:
        print(f"INFO: starting {self._scan}")  # noqa: T201 - as BLISS's own scans do

    def scan_end_callback(self) -> None:
        for master in self._detectors:
            for line in master.end_lines():
                print(f"INFO: {master.name}: {line}")  # noqa: T201

    def build_progress_message(self) -> tuple[int, list[Cell]]:
        """(number of lines, styled text): headings, and a line for each detector."""
        state = self.scan_state
        shown = _STATES.get(state, (_STYLES.get(state, ""), state.name))
        columns = shutil.get_terminal_size().columns
        lines = progress_table(f"{self.scan_type}:", shown, [images_taken(each) for each in self._detectors], columns)
        text: list[Cell] = []
        for number, line in enumerate(lines):
            text += [*([("", "\n")] if number else []), *line]
        return len(lines), text
