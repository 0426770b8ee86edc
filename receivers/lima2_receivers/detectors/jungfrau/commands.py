"""Commands of the Jungfrau's control beside acquisitions: image size, calibrations, what belongs to the simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from lima2_bliss.contract import ParameterError, SavingError
from lima2_bliss.contract.parameters import Parameters, parse
from lima2_receivers.detectors.jungfrau.background import BackgroundWork
from lima2_receivers.detectors.jungfrau.beam import diffraction_of, simulated_calibration
from lima2_receivers.detectors.jungfrau.calibration import Calibration
from lima2_receivers.detectors.jungfrau.calibration_file import save_calibration
from lima2_receivers.detectors.jungfrau.calibration_report import report_on, save_pictures
from lima2_receivers.detectors.jungfrau.gain_files import write_psi_gains
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters, JungfrauSettings
from lima2_receivers.detectors.jungfrau.pedestal_files import merge_to_file
from lima2_receivers.detectors.simulator.poni import poni_text
from lima2_receivers.kernels.jungfrau_layout import Layout

#: How long a command waits for work that may be done soon [s]; commands have two seconds in all.
PATIENCE_S = 1.5


class ExternalEnd(Parameters):
    """Argument of the command `external_end`."""

    total: int = Field(ge=0, le=2**31 - 1, description="frames that the other program has sent, to all receivers")


class SimulatedCalibration(Parameters):
    """Argument of the command `simulated_calibration`."""

    path: str = Field(min_length=1, description="calibration: file to write; gains: prefix of PREFIX_MODULE.bin")
    what: Literal["calibration", "gains"] = Field(
        "calibration", description="calibration: a calibration file with gains and pedestals; gains: PSI's gain files"
    )
    det: dict[str, Any] = Field(
        default_factory=dict, description="parameters det of the acquisition; empty: those of the last one"
    )


class Calibrate(Parameters):
    """Argument of the command `calibrate`."""

    sums: list[str] = Field(min_length=1, max_length=1000, description="det.pedestals.path of each acquisition")
    gains: str | list[str] = Field(
        description="calibration file, HDF5 file of jungfrau_utils, or PSI's gain files, one for each module"
    )
    output: str = Field(min_length=1, description="calibration file to write")
    report: str = Field("", description="folder for pictures of the maps; empty: none")


class Workbench:
    """The commands. ``current`` gives the parameters det of the last acquisition."""

    def __init__(self, current: Callable[[], JungfrauSettings]) -> None:
        self._current = current
        self._work = BackgroundWork()

    def commands(self, simulated: bool) -> Mapping[str, Callable[[Any], Any]]:
        """`image_shape` {det parameters; none: the last ones}: {x, y} of the image [px].

        `calibrate` {sums, gains, output, report}: begins to make a calibration of sums of dark frames; see
        `calibrate_state`: {state, error, report, path, pictures}. Only with a simulated detector:
        `simulated_calibration` {path, what, det}: the exact calibration of its modules, or their gain files;
        `poni` {det parameters; none: the last ones}: text of a PONI file for the pattern bragg.
        """
        of_simulation = {"simulated_calibration": self._simulated_calibration, "poni": self._poni}
        return {
            "image_shape": self._image_shape,
            "calibrate": self._calibrate,
            "calibrate_state": lambda argument: self._work.state,
            **(of_simulation if simulated else {}),
        }

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait for what is being written."""
        self._work.wait(timeout_s)

    def _settings(self, argument: Any, what: str) -> JungfrauSettings:
        if not argument:
            return self._current()
        return parse(JungfrauParameters, {"det": argument}, f"argument of {what}").det

    def _image_shape(self, argument: Any) -> dict[str, int]:
        height, width = self._settings(argument, "image_shape").geometry.layout.image_shape
        return {"x": width, "y": height}

    def _poni(self, argument: Any) -> str:
        return poni_text(diffraction_of(self._settings(argument, "poni")))

    def _calibrate(self, argument: Any) -> dict[str, Any]:
        wanted = parse(Calibrate, argument or {}, "argument of calibrate")
        layout = self._current().geometry.layout
        if Path(wanted.output).exists():
            raise SavingError(f"{wanted.output} exists already and is kept; give another name for the calibration")
        self._work.start("calibrate", lambda: _calibrated(wanted, layout))
        return self._work.wait(PATIENCE_S)

    def _simulated_calibration(self, argument: Any) -> dict[str, Any]:
        wanted = parse(SimulatedCalibration, argument or {}, "argument of simulated_calibration")
        det = self._settings(wanted.det, "simulated_calibration")
        made = _write_gains if wanted.what == "gains" else _write_calibration
        self._work.start("simulated_calibration", lambda: made(Path(wanted.path), det))
        state = self._work.wait(PATIENCE_S)
        if state["state"] == "failed":
            raise SavingError(state["error"])
        return state


def _calibrated(wanted: Calibrate, layout: Layout) -> dict[str, Any]:
    made = merge_to_file(wanted.sums, wanted.gains, wanted.output)
    pictures: list[Path] = []
    if wanted.report:
        if made.mask.shape != layout.stack_shape:
            raise ParameterError(
                f"{wanted.output} is written, but it is of {made.mask.shape[0]} modules and the last acquisition had "
                f"{layout.nb_modules}: no pictures; prepare one with the same det.geometry to have them"
            )
        pictures = save_pictures(made, layout, wanted.report)
    return {"report": str(report_on(made)), "path": wanted.output, "pictures": [str(path) for path in pictures]}


def _write_calibration(path: Path, det: JungfrauSettings) -> dict[str, Any]:
    save_calibration(path, simulated_calibration(det, datetime.now(UTC)))
    return {"path": str(path), "paths": [str(path)]}


def _write_gains(prefix: Path, det: JungfrauSettings) -> dict[str, Any]:
    known: Calibration = simulated_calibration(det, datetime.now(UTC))
    gains = known.gains.copy()
    gains[4:] = gains[1:3]  # the files have all maps, or only those of normal mode
    paths = [Path(f"{prefix}_{module}.bin") for module in range(gains.shape[1])]
    try:
        write_psi_gains(paths, np.asarray(gains, np.float64))
    except OSError as error:
        raise SavingError(f"{prefix}: gain files cannot be written: {error.strerror}") from None
    return {"path": str(prefix), "paths": [str(path) for path in paths]}
