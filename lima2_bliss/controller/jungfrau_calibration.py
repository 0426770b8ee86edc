"""The calibration that a Jungfrau uses: which file, how old, what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.detector_settings import DetectorSettings

#: Settings of the detector that this is about.
FILE, OUTPUT = "correction.calibration", "correction.output"

#: The report on a calibration, beside its pictures.
REPORT = "report.txt"


def pictures_folder(file: str | Path) -> Path:
    """Where the pictures and the report of a calibration file are: a folder of its name, beside it."""
    return Path(file).with_suffix("")


@dataclass(frozen=True)
class CalibrationHeader:
    """What a calibration file says of itself; ``taken_at``: when its pedestals were."""

    taken_at: datetime
    serial: str = ""
    module_ids: tuple[int, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()


def read_header(file: str | Path) -> CalibrationHeader:
    """The header of a calibration file; `ParameterError` when it is none, or cannot be read here."""
    try:
        with h5py.File(file, "r") as content:
            attributes = dict(content.attrs)
            ids = tuple(int(number) for number in content["module_ids"][()])
        return CalibrationHeader(
            datetime.fromisoformat(attributes["taken_at"]),
            str(attributes["serial"]),
            ids,
            json.loads(attributes["conditions"]),
            tuple(json.loads(attributes["history"])),
        )
    except OSError as error:
        raise ParameterError(f"{file} cannot be read on this host: {error}") from None
    except (KeyError, ValueError, TypeError):
        raise ParameterError(f"{file} is no calibration of a Jungfrau; make one with pedestal_scan()") from None


def age_words(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, as in ``3.2 h ago``."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 1.5 * size:
            return f"{seconds / size:.1f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class CalibrationInUse:
    """The calibration file of a detector: ``det.calibration.file = ...`` sets it; None for images as they are read."""

    def __init__(self, detector: str, settings: DetectorSettings) -> None:
        self._title = f"{detector}.calibration"
        self._settings = settings

    @property
    def file(self) -> str | None:
        """Calibration file, as all receivers see it; None when there is none."""
        return str(self._settings[FILE]) or None

    @file.setter
    def file(self, path: str | Path | None) -> None:
        print(self.use(path))  # noqa: T201 - it answers who typed it

    def use(self, path: str | Path | None) -> str:
        """Set the file; images become float32 if they were not corrected before. Says what was set, in words."""
        if path is None:
            self._settings.update({FILE: "", OUTPUT: "raw"})
            return f"{self._title}: none; images are as they are read"
        values: dict[str, Any] = {FILE: str(Path(path).absolute())}
        raw = self._settings[OUTPUT] == "raw"
        if raw:
            values[OUTPUT] = "float32"
        self._settings.update(values)
        more = f"; images are now corrected, as float32 in {self._settings['correction.unit']}" if raw else ""
        return f"{self._title}: {values[FILE]}{more}"

    @property
    def taken_at(self) -> datetime | None:
        """When the pedestals were taken; None without a file."""
        return None if self.file is None else read_header(self.file).taken_at

    @property
    def history(self) -> tuple[str, ...]:
        """How the file came about, step by step."""
        return () if self.file is None else read_header(self.file).history

    @property
    def report(self) -> str:
        """Pedestals, noise and bad pixels as a table; empty when there is none with this file."""
        place = None if self.file is None else pictures_folder(self.file) / REPORT
        return place.read_text().rstrip() if place is not None and place.is_file() else ""

    @property
    def pictures(self) -> list[Path]:
        """Pictures of pedestals, noise and mask."""
        return [] if self.file is None else sorted(pictures_folder(self.file).glob("*.png"))

    def words(self) -> str:
        """Output and file in a line."""
        output, unit = self._settings[OUTPUT], self._settings["correction.unit"]
        if output == "raw":
            return "none, images are as they are read"
        try:
            age = f" of {age_words(read_header(str(self.file)).taken_at)}"
        except ParameterError:
            age = ""
        return f"{unit} as {output}, calibration {self.file}{age}"

    def __info__(self) -> str:
        if self.file is None:
            return f"{self._title}: none; take one with pedestal_scan(), or set {self._title}.file"
        lines = [f"{self._title}: {self.file}"]
        try:
            header = read_header(self.file)
        except ParameterError as error:
            return f"{lines[0]}\n  {error}"
        lines.append(f"  pedestals of {header.taken_at.astimezone():%Y-%m-%d %H:%M:%S}, {age_words(header.taken_at)}")
        if header.serial:
            lines.append(f"  detector {header.serial}, modules {', '.join(map(str, header.module_ids))}")
        if header.conditions:
            lines.append("  " + ", ".join(f"{name} {_word(value)}" for name, value in header.conditions.items()))
        lines += [f"  {step}" for step in header.history]
        if self.pictures:
            lines.append(f"  pictures: {pictures_folder(self.file)}")
        return "\n".join([*lines, self.report]).rstrip()
