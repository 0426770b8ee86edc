"""The Jungfrau in a BLISS session: a detector with pedestals, and a calibration of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bliss.common.utils import autocomplete_property

from lima2_bliss.client.nxdetector import collection
from lima2_bliss.contract import Lima2Error, ParameterError
from lima2_bliss.controller.detector import Lima2Detector
from lima2_bliss.controller.jungfrau_calibration import CalibrationInUse, read_header
from lima2_bliss.controller.jungfrau_pedestals import PedestalRequest, pedestal_scan
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.report import detector_report
from lima2_bliss.controller.user_fields import merged

#: Settings of the detector that every scan file tells.
_TOLD = ("gain_mode", "high_gain", "storage_cell", "speed", "interfaces")
#: What a pixel beyond the last gain stage reads as: gain bits 3, and no signal left.
_RAW_SATURATED = 0xC000
_TOLD_CORRECTION = ("output", "unit", "photon_kev", "calibration")


class Jungfrau(Lima2Detector):
    """A PSI Jungfrau. Take pedestals with `pedestal_scan`, see with `calibration` what corrects the images."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._calibration = CalibrationInUse(self.name, self.detector)

    @autocomplete_property
    def calibration(self) -> CalibrationInUse:
        """The calibration file in use, its date and report."""
        return self._calibration

    @property
    def simulated(self) -> bool:
        """Whether control plays the detector."""
        return self._connection.client.status().get("backend") == "simulated"

    def pedestal_scan(
        self,
        nb_frames: int = 500,
        expo_time: float = 1e-5,
        gains: str | Path | Sequence[str | Path] | None = None,
        path: str | Path | None = None,
        latency_time: float | None = None,
    ) -> None:
        """Take ``nb_frames`` dark frames of each gain stage, and use the calibration that they give. No light, please.

        ``expo_time`` [s] is that of the images to come; ``latency_time`` [s] between frames, None for the setting.
        ``gains``: calibration file, HDF5 file of jungfrau_utils or PSI's gain files (one for each module); None for
        those of the calibration in use. The file goes to SCAN_SAVING.base_path/calibration, or to ``path``; none is
        ever overwritten. All other settings stay as they are.
        """
        print(pedestal_scan(self, PedestalRequest(nb_frames, expo_time, gains, path, latency_time)))  # noqa: T201

    def __info__(self) -> str:
        try:
            words = self.calibration.words()
        except Lima2Error:
            words = "not known before control answers"
        return detector_report(self, [f"Correction: {words}"])

    @contextmanager
    def with_settings(self, change: Callable[[DetectorState], DetectorState]) -> Iterator[None]:
        """Within, scans are prepared with settings that ``change`` made of the present ones, which stay."""
        with self._sections.changed(change):
            yield

    def scan_metadata(self) -> dict[str, Any]:
        """NXdetector fields for the scan file, with gain mode and correction."""
        metadata = super().scan_metadata()
        try:
            defaults = self._connection.detector_defaults()
        except Lima2Error:
            return metadata
        # `metadata` has the fields of users, which win
        return merged(jungfrau_metadata(defaults, self.settings_now().detector), metadata)


def jungfrau_metadata(defaults: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """What scan files tell of a Jungfrau's settings, and of the calibration as far as it can be read here."""
    correction = {**defaults.get("correction", {}), **changed.get("correction", {})}
    values = {**defaults, **changed}
    told: dict[str, Any] = {
        "readout": {"@NX_class": "NXcollection", **{name: values[name] for name in _TOLD if name in values}},
        "correction": {
            "@NX_class": "NXcollection",
            **{name: correction[name] for name in _TOLD_CORRECTION if correction.get(name, "") != ""},
        },
    }
    if "gain_mode" in values:
        told["gain_setting"] = f"{values['gain_mode']}{', high gain' if values.get('high_gain') else ''}"
    if correction.get("output") == "raw":
        return told | {"saturation_value": _RAW_SATURATED}
    try:
        header = read_header(str(correction.get("calibration", "")))
    except ParameterError:
        return told
    told["calibration_date"] = header.taken_at.isoformat()
    made = {"pedestals_taken_at": header.taken_at.isoformat(), "calibrated_detector": header.serial}
    told["correction"] |= {key: value for key, value in made.items() if value}
    if header.conditions:
        told["correction"]["conditions"] = collection(header.conditions)
    if header.module_ids:
        told["correction"]["module_ids"] = list(header.module_ids)
    if header.history:
        told["correction"]["history"] = "; ".join(header.history)
    return told
