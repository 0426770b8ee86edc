"""Dark frames are added up in the receivers, and merged into a calibration."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from conditioning_rig import Bench, Modules

from lima2_bliss.contract import AcquisitionError, FrameFlags, ParameterError, SavingError
from lima2_receivers.detectors.jungfrau import pedestal_files
from lima2_receivers.detectors.jungfrau.calibration_file import load_calibration, save_calibration
from lima2_receivers.detectors.jungfrau.gain_files import write_psi_gains
from lima2_receivers.detectors.jungfrau.packets import DAQ_FIX_G1, DAQ_FORCE_G1, DAQ_FORCE_G2, MISSING_PIXEL

MODULES = Modules(1)
SHAPE = (1, 512, 1024)
SERIES = {"dynamic": (0, 0, 3000), "forceswitchg1": (DAQ_FORCE_G1, 1, 15070), "forceswitchg2": (DAQ_FORCE_G2, 3, 15020)}
RECEIVERS = 2


def dark(mode: str, seed: int) -> np.ndarray:
    _, bits, mean = SERIES[mode]
    adc = np.random.default_rng(seed).integers(mean - 20, mean + 21, SHAPE)
    return (adc | bits << 14).astype("u2")


def take(prefix, mode: str, frames: list[np.ndarray], rank: int = 0, receivers: int = 1, **det) -> None:
    """One receiver's part of an acquisition of dark frames."""
    gain_mode = det.pop("gain_mode", mode)
    pedestals = {"enabled": True, "path": str(prefix), **det.pop("pedestals", {})}
    acq = det.pop("acq", {})
    parameters = MODULES.parameters(output="raw", acq=acq, gain_mode=gain_mode, pedestals=pedestals, **det)
    bench = Bench(MODULES, parameters, rank, receivers)
    try:
        for frame in frames:
            bench.process(frame, daq=SERIES[mode][0])
    finally:
        bench.nodes.close()
    bench.nodes.last()


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Twelve dark frames of each stage, added up by two receivers, and all of them."""
    folder = tmp_path_factory.mktemp("dark")
    frames = {mode: [dark(mode, 100 * stage + number) for number in range(12)] for stage, mode in enumerate(SERIES)}
    for mode, taken in frames.items():
        for rank in range(RECEIVERS):
            take(folder / mode, mode, taken[rank::RECEIVERS], rank, RECEIVERS)
    return folder, frames


def test_sums_of_all_receivers_and_series_make_a_calibration(series, tmp_path):
    folder, frames = series
    start = MODULES.calibration()
    made = pedestal_files.merge([str(folder / mode) for mode in SERIES], start)
    for stage, mode in enumerate(SERIES):
        adc = (np.array(frames[mode]) & 0x3FFF).astype("f8")
        np.testing.assert_allclose(made.pedestals[stage], adc.mean(0), rtol=1e-6)
        np.testing.assert_allclose(made.noise[stage], adc.std(0, ddof=1), rtol=1e-5)
    assert made.module_ids == MODULES.ids
    assert made.conditions == {"exposure_s": 1e-5, "storage_cell": 15, "speed": "half_speed"}
    np.testing.assert_array_equal(made.gains, start.gains)


def test_the_order_and_naming_of_files_does_not_matter(series):
    folder, _ = series
    start = MODULES.calibration()
    prefix = str(folder / "dynamic")
    first = pedestal_files.merge([prefix], start)
    again = pedestal_files.merge([f"{prefix}_1.h5", prefix, f"{prefix}_0.h5"], start)  # each file counts once
    np.testing.assert_array_equal(first.pedestals, again.pedestals)
    np.testing.assert_array_equal(first.noise, again.noise)


def test_gains_may_be_psi_files_or_a_calibration_file(series, tmp_path):
    folder, _ = series
    start = MODULES.calibration()
    write_psi_gains([tmp_path / "gain.bin"], start.gains[:3].astype("f8"))
    save_calibration(tmp_path / "start.h5", start)
    prefixes = [str(folder / mode) for mode in SERIES]
    made = pedestal_files.merge_to_file(prefixes, [str(tmp_path / "gain.bin")], str(tmp_path / "made.h5"))
    np.testing.assert_array_equal(made.gains[:3], start.gains[:3])
    assert made.module_ids == MODULES.ids
    np.testing.assert_array_equal(load_calibration(tmp_path / "made.h5").pedestals, made.pedestals)
    Bench(MODULES, MODULES.parameters(tmp_path / "made.h5")).end()
    other = pedestal_files.merge(prefixes, str(tmp_path / "start.h5"))
    np.testing.assert_array_equal(other.pedestals[:3], made.pedestals[:3])
    with pytest.raises(SavingError, match=r"made\.h5 exists already"):
        pedestal_files.merge_to_file(prefixes, str(tmp_path / "start.h5"), str(tmp_path / "made.h5"))


def test_first_and_incomplete_frames_do_not_count(tmp_path):
    parameters = MODULES.parameters(
        output="raw", pedestals={"enabled": True, "path": str(tmp_path / "d"), "skip_frames": 2}
    )
    bench = Bench(MODULES, parameters)
    frame = np.full(SHAPE, 3000, "u2")
    for value in (1, 2):
        bench.process(np.full(SHAPE, value, "u2"))
    bench.process(np.full(SHAPE, MISSING_PIXEL, "u2"), flags=FrameFlags.INCOMPLETE)
    bench.process(None, flags=FrameFlags.LOST)
    for _ in range(3):
        bench.process(frame)
    bench.end()
    sums = pedestal_files.load_sums(tmp_path / "d_0.h5").taker.sums
    assert list(sums) == ["G0"]
    assert sums["G0"].frames == 3
    assert (sums["G0"].totals == 9000).all()
    assert (sums["G0"].counts == 3).all()


def test_existing_sums_are_kept(tmp_path):
    take(tmp_path / "d", "dynamic", [dark("dynamic", 1)])
    before = (tmp_path / "d_0.h5").read_bytes()
    with pytest.raises(SavingError, match=r"d_0\.h5 exists already and is kept"):
        take(tmp_path / "d", "dynamic", [dark("dynamic", 2)])
    assert (tmp_path / "d_0.h5").read_bytes() == before
    with pytest.raises(SavingError, match="no folder"):
        take(tmp_path / "nowhere" / "d", "dynamic", [])


def test_a_receiver_without_frames_does_no_harm(tmp_path):
    take(tmp_path / "d", "dynamic", [dark("dynamic", n) for n in range(10)], 0, 2)
    with pytest.raises(ParameterError, match=r"receivers \[1\] of 2 are missing"):
        pedestal_files.merge([str(tmp_path / "d")], MODULES.calibration())
    take(tmp_path / "d", "dynamic", [], 1, 2)
    pedestal_files.merge([str(tmp_path / "d")], MODULES.calibration())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"acq": {"expo_time": 20}}, "exposure_s 2e-05 after 1e-05"),
        ({"storage_cell": 3}, "storage_cell 3 after 15"),
    ],
)
def test_frames_of_other_conditions_are_not_mixed(series, tmp_path, changes, text):
    folder, _ = series
    take(tmp_path / "d", "dynamic", [dark("dynamic", 1)], **changes)
    with pytest.raises(ParameterError, match=text):
        pedestal_files.merge([str(folder / "dynamic"), str(tmp_path / "d")], MODULES.calibration())


def test_fixed_and_forced_stages_are_not_mixed(series, tmp_path):
    folder, frames = series
    parameters = MODULES.parameters(
        output="raw", gain_mode="fixg1", pedestals={"enabled": True, "path": str(tmp_path / "d")}
    )
    bench = Bench(MODULES, parameters)
    bench.process(frames["forceswitchg1"][0], daq=DAQ_FIX_G1)
    bench.end()
    with pytest.raises(ParameterError, match="G1 fixg1 after forceswitchg1"):
        pedestal_files.merge([str(folder / "forceswitchg1"), str(tmp_path / "d")], MODULES.calibration())


def test_other_modules_are_refused(series, tmp_path):
    folder, _ = series
    with pytest.raises(ParameterError, match=r"gains of modules \[5\] for dark frames of \[700\]"):
        pedestal_files.merge([str(folder / "dynamic")], MODULES.calibration(module_ids=(5,)))
    with h5py.File(tmp_path / "other.h5", "w") as file, h5py.File(folder / "dynamic_0.h5") as first:
        for name in first:
            first.copy(name, file)
        file.attrs.update(dict(first.attrs))
        del file["module_ids"]
        file["module_ids"] = [9]
    with pytest.raises(ParameterError, match=r"other.h5: dark frames of modules \[9\], those before of \[700\]"):
        pedestal_files.merge([str(folder / "dynamic"), str(tmp_path / "other.h5")], MODULES.calibration())


def test_frames_of_another_stage_than_set_end_the_acquisition(tmp_path):
    with pytest.raises(AcquisitionError, match="is of stage G0 by its headers, but gain mode forceswitchg1 gives G1"):
        take(tmp_path / "d", "dynamic", [dark("dynamic", 1)], gain_mode="forceswitchg1")
    take(tmp_path / "e", "dynamic", [dark("dynamic", 1)], gain_mode="forceswitchg1", wire="external")
    assert list(pedestal_files.load_sums(tmp_path / "e_0.h5").taker.sums) == ["G0"]


def test_what_holds_no_sums_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="there is no such file, and no files"):
        pedestal_files.merge([str(tmp_path / "d")], MODULES.calibration())
    with pytest.raises(ParameterError, match="no files of sums were given"):
        pedestal_files.merge([], MODULES.calibration())
    save_calibration(tmp_path / "calibration.h5", MODULES.calibration())
    with pytest.raises(ParameterError, match="holds no sums of dark frames"):
        pedestal_files.merge([str(tmp_path / "calibration.h5")], MODULES.calibration())
    take(tmp_path / "few", "dynamic", [])
    with pytest.raises(ParameterError, match="there is no dark frame in"):
        pedestal_files.merge([str(tmp_path / "few")], MODULES.calibration())
