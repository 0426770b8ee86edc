"""Pedestal scans of a Jungfrau change nothing but the calibration; what is said of a calibration file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import AcquisitionError, ParameterError
from lima2_bliss.controller import jungfrau_pedestals
from lima2_bliss.controller.detector_settings import DetectorSettings
from lima2_bliss.controller.jungfrau import jungfrau_metadata
from lima2_bliss.controller.jungfrau_calibration import CalibrationInUse, age_words, pictures_folder, read_header
from lima2_bliss.controller.jungfrau_pedestals import PedestalRequest, dark_settings, pedestal_scan
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.rois import RectRoi
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)

DEFAULTS = {
    "geometry": {"module_rows": 2, "module_columns": 1},
    "gain_mode": "dynamic",
    "high_gain": False,
    "wire": "detector",
    "correction": {"output": "raw", "unit": "photons", "calibration": ""},
    "pedestals": {"enabled": False, "path": "", "skip_frames": 0},
    "beam": {"pattern": "bragg", "images": 8},
}


class Memory:
    """A store that lives as long as the test."""

    text: str | None = None

    def get(self) -> str | None:
        return self.text

    def set(self, text: str) -> None:
        self.text = text

    def clear(self) -> None:
        self.text = None


class FakeJungfrau:
    """Keeps the settings, and notes what it is told."""

    def __init__(self) -> None:
        self.name = "jf"
        self.detector = DetectorSettings("jf.detector", {}, Memory(), lambda: DEFAULTS)
        self.calibration = CalibrationInUse("jf", self.detector)
        self.receiver_names = ["a", "b"]
        self.simulated = True
        self.counters = SimpleNamespace(image="image")
        self.commands: list[tuple[str, Any]] = []
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.states: list[DetectorState] = []

    def settings_now(self) -> DetectorState:
        state = DetectorState(
            AcquisitionSettings(),
            ImageSettings(binning=(2, 2)),
            ProcessingSettings(pipeline="smx", nb_threads=3, accumulation=4, mask="/m.h5"),
            SavingSettings(raw="all"),
            detector=self.detector.overrides(),
            rois={"r": RectRoi(0, 0, 10, 10)},
        )
        return self._change(state)

    _change: Callable[[DetectorState], DetectorState] = staticmethod(lambda state: state)

    @contextmanager
    def with_settings(self, change: Callable[[DetectorState], DetectorState]) -> Iterator[None]:
        self._change = change
        yield
        self._change = lambda state: state

    def command(self, name: str, argument: Any = None) -> Mapping[str, Any]:
        self.commands.append((name, argument))
        if name == "calibrate":
            Path(argument["output"]).touch()
        return self.answers[name].pop(0)


@pytest.fixture
def jungfrau(monkeypatch: pytest.MonkeyPatch) -> FakeJungfrau:
    fake = FakeJungfrau()

    def scanned(detector: FakeJungfrau, request: Any, counters: Any, **options: Any) -> None:
        detector.states.append(detector.settings_now())
        Path(f"{detector.states[-1].detector['pedestals']['path']}_0.h5").touch()

    monkeypatch.setattr(jungfrau_pedestals, "continuous_scan", scanned)
    monkeypatch.setattr(jungfrau_pedestals, "_POLL_S", 0.0)
    return fake


DONE = {"state": "done", "error": "", "report": "all is well", "path": "", "pictures": ["/p/mask.png"]}


def test_three_stages_are_taken_and_the_calibration_is_used(jungfrau: FakeJungfrau, tmp_path: Path) -> None:
    jungfrau.answers = {
        "simulated_calibration": [{"state": "done", "paths": ["/g/0.bin", "/g/1.bin"]}],
        "calibrate": [{"state": "running"}],
        "calibrate_state": [{"state": "running"}, DONE],
    }
    told = pedestal_scan(jungfrau, PedestalRequest(100, 1e-5, path=tmp_path / "new" / "cal"))  # type: ignore[arg-type]
    assert [state.detector["gain_mode"] for state in jungfrau.states] == ["dynamic", "forceswitchg1", "forceswitchg2"]
    for state in jungfrau.states:
        assert state.processing == ProcessingSettings(nb_threads=3)
        assert not state.saving.enabled
        assert state.image == ImageSettings()
        assert not state.rois
        assert state.detector["beam"] == {"pattern": "dark", "images": 32}
    order = next(argument for name, argument in jungfrau.commands if name == "calibrate")
    assert order["gains"] == ["/g/0.bin", "/g/1.bin"]
    assert [Path(path).name for path in order["sums"]] == ["G0", "G1", "G2"]
    file = tmp_path / "new" / "cal.h5"
    assert sorted(path.name for path in file.parent.iterdir()) == ["cal", "cal.h5"]
    assert jungfrau.calibration.file == str(file)
    assert jungfrau.calibration.report == "all is well"
    assert jungfrau.detector.overrides() == {"correction": {"calibration": str(file), "output": "float32"}}
    assert "all is well" in told
    assert f"{file}; images are now corrected, as float32 in photons" in told


def test_gains_are_those_in_use_if_none_are_given(jungfrau: FakeJungfrau, tmp_path: Path) -> None:
    jungfrau.detector.update({"correction.calibration": "/old.h5", "correction.output": "int32"})
    jungfrau.answers = {"calibrate": [DONE]}
    pedestal_scan(jungfrau, PedestalRequest(100, 1e-5, path=tmp_path / "cal.h5"))  # type: ignore[arg-type]
    assert [argument["gains"] for name, argument in jungfrau.commands if name == "calibrate"] == ["/old.h5"]
    assert jungfrau.detector["correction.output"] == "int32"


def test_after_ctrl_c_nothing_is_left_and_nothing_has_changed(
    jungfrau: FakeJungfrau, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jungfrau_pedestals, "continuous_scan", interrupted)
    jungfrau.detector.update({"correction.calibration": "/old.h5"})
    before = jungfrau.detector.to_dict()
    with pytest.raises(KeyboardInterrupt):
        pedestal_scan(jungfrau, PedestalRequest(100, 1e-5, path=tmp_path / "cal.h5"))  # type: ignore[arg-type]
    assert jungfrau.detector.to_dict() == before
    assert list(tmp_path.iterdir()) == []


def test_when_control_cannot_make_the_calibration_it_says_why(jungfrau: FakeJungfrau, tmp_path: Path) -> None:
    jungfrau.detector.update({"correction.calibration": "/old.h5"})
    jungfrau.answers = {"calibrate": [{"state": "failed", "error": "gains of other modules"}]}
    with pytest.raises(AcquisitionError, match="no calibration was made: gains of other modules"):
        pedestal_scan(jungfrau, PedestalRequest(100, 1e-5, path=tmp_path / "cal.h5"))  # type: ignore[arg-type]
    assert jungfrau.calibration.file == "/old.h5"


def test_what_cannot_work_is_said_before_the_first_frame(jungfrau: FakeJungfrau, tmp_path: Path) -> None:
    jungfrau.simulated = False
    jungfrau.detector.update({"wire": "external", "pedestals.skip_frames": 10})
    with pytest.raises(ParameterError) as refused:
        pedestal_scan(jungfrau, PedestalRequest(25, 1e-5))  # type: ignore[arg-type]
    for words in ("is external", "nb_frames = 25 leaves 5 frames", "there is no calibration with gains yet"):
        assert words in str(refused.value)
    with pytest.raises(ParameterError, match=r"no such gain file: /none/0\.bin"):
        pedestal_scan(jungfrau, PedestalRequest(100, 1e-5, gains=["/none/0.bin"]))  # type: ignore[arg-type]
    jungfrau.detector.update({"wire": "detector", "correction.calibration": "/old.h5"})
    (tmp_path / "cal.h5").touch()
    with pytest.raises(ParameterError, match=r"cal\.h5 exists already and is kept"):
        pedestal_scan(jungfrau, PedestalRequest(100, 1e-5, path=tmp_path / "cal.h5"))  # type: ignore[arg-type]
    assert jungfrau.states == []


def test_settings_for_dark_frames_keep_what_the_detector_is() -> None:
    state = DetectorState(
        AcquisitionSettings(latency_time=0.01),
        ImageSettings(),
        ProcessingSettings(),
        SavingSettings(),
        detector={"geometry": {"module_rows": 4}, "beam": {"seed": 7}, "running_pedestal": {"enabled": True}},
    )
    made = dark_settings(state, "forceswitchg1", "/sums/G1")
    assert made.acquisition == state.acquisition
    assert made.detector["geometry"] == {"module_rows": 4}
    assert made.detector["beam"] == {"seed": 7, "pattern": "dark", "images": 8}
    assert made.detector["pedestals"] == {"enabled": True, "path": "/sums/G1"}
    assert made.detector["running_pedestal"] == {"enabled": False}
    assert state.detector["running_pedestal"] == {"enabled": True}


# --- calibration files ------------------------------------------------------------------------------------------------


def calibration_file(path: Path, taken_at: datetime) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(taken_at=taken_at.isoformat(), serial="JF-1", history=json.dumps(["gains from PSI"]))
        file.attrs["conditions"] = json.dumps({"exposure_s": 1e-05})
        file["module_ids"] = np.array([401, 402])
    return path


def test_the_calibration_in_use_tells_its_date_and_origin(tmp_path: Path) -> None:
    taken = datetime.now(UTC) - timedelta(hours=3)
    file = calibration_file(tmp_path / "cal.h5", taken)
    settings = DetectorSettings("jf.detector", {}, Memory(), lambda: DEFAULTS)
    used = CalibrationInUse("jf", settings)
    assert "none; take one with pedestal_scan()" in used.__info__()
    assert used.words() == "none, images are as they are read"
    used.use(file)
    assert used.taken_at == taken
    assert used.history == ("gains from PSI",)
    text = used.__info__()
    for words in ("3.0 h ago", "detector JF-1, modules 401, 402", "exposure_s 1e-05", "gains from PSI"):
        assert words in text
    pictures_folder(file).mkdir()
    (pictures_folder(file) / "mask.png").touch()
    assert [path.name for path in used.pictures] == ["mask.png"]
    assert used.words().startswith("photons as float32, calibration ")
    told = jungfrau_metadata(DEFAULTS, {"correction": {"output": "float32", "calibration": str(file)}})
    assert told["calibration_date"] == told["correction"]["pedestals_taken_at"]
    assert told["correction"]["calibrated_detector"] == "JF-1"
    assert told["correction"]["module_ids"] == [401, 402]
    assert "gains from PSI" in told["correction"]["history"]
    assert told["correction"]["conditions"]["exposure_s"] == 1e-5
    assert "saturation_value" not in told
    assert used.use(None).endswith("images are as they are read")
    assert (settings["correction.output"], used.file) == ("raw", None)


def test_a_file_that_is_no_calibration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"none\.h5 cannot be read on this host"):
        read_header(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = 1
    with pytest.raises(ParameterError, match=r"other\.h5 is no calibration of a Jungfrau"):
        read_header(tmp_path / "other.h5")


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s ago"), (300, "5.0 min ago"), (200_000, "2.3 days ago")])
def test_ages_are_told_in_fitting_units(seconds: float, words: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert age_words(now - timedelta(seconds=seconds), now) == words


def test_scan_files_tell_gain_mode_and_correction() -> None:
    told = jungfrau_metadata(DEFAULTS, {"high_gain": True, "correction": {"output": "float32", "calibration": "/c.h5"}})
    assert told["readout"] == {"@NX_class": "NXcollection", "gain_mode": "dynamic", "high_gain": True}
    assert told["correction"]["calibration"] == "/c.h5"
    assert told["correction"]["unit"] == "photons"
    assert told["gain_setting"] == "dynamic, high gain"
    assert jungfrau_metadata(DEFAULTS, {})["saturation_value"] == 0xC000
