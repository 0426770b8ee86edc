"""Pedestals follow frames that were no hits, from one acquisition to the next, and are saved."""

from __future__ import annotations

import numpy as np
import pytest
from conditioning_rig import Bench, Modules

from lima2_bliss.contract import FrameFlags, ParameterError, SavingError
from lima2_receivers.detectors.jungfrau.calibration_file import load_calibration, save_calibration
from lima2_receivers.kernels.opencl_devices import can_compile, opencl_devices

MODULES = Modules(1)
DARK = MODULES.raw(np.zeros((1, 512, 1024)))
DRIFTED = DARK + np.uint16(16)  # less than four times the noise of 8 ADU


@pytest.fixture
def path(tmp_path):
    save_calibration(tmp_path / "start.h5", MODULES.calibration())
    return tmp_path / "start.h5"


def parameters(path, running=None, **more):
    return MODULES.parameters(path, running_pedestal={"enabled": True, "window": 4, **(running or {})}, **more)


def shown(bench: Bench) -> float:
    """Photons that the drifted dark frame seems to have, without following it."""
    return float(bench.process(DRIFTED, hit=True)[0].mean())


def test_frames_without_photons_take_the_pedestals_along(path):
    bench = Bench(MODULES, parameters(path))
    values = [float(bench.process(DRIFTED, hit=hit)[0].mean()) for hit in (True, None, False, False, True)]
    bench.end()
    off = 16 / (41 * 12.4)
    np.testing.assert_allclose(values, off * np.array([1, 1, 3 / 4, 9 / 16, 27 / 64]), rtol=0.02)


def test_only_complete_frames_and_every_nth_count(path):
    bench = Bench(MODULES, parameters(path, {"every": 3}))
    first = shown(bench)
    bench.process(DRIFTED, flags=FrameFlags.INCOMPLETE)
    bench.process(None, flags=FrameFlags.LOST)
    assert shown(bench) == first
    for _ in range(4):
        bench.process(DRIFTED)
    np.testing.assert_allclose(shown(bench), first * 9 / 16, rtol=0.02)  # the first and the fourth
    bench.end()


def follow(bench: Bench, frames: int = 3) -> None:
    for _ in range(frames):
        bench.process(DRIFTED)
    bench.end()


def test_the_next_acquisition_goes_on_where_the_last_ended(path):
    bench = Bench(MODULES, parameters(path))
    first = shown(bench)
    follow(bench)
    bench = Bench(MODULES, parameters(path))
    np.testing.assert_allclose(shown(bench), first * 27 / 64, rtol=0.02)
    bench.end()
    other = Bench(MODULES, parameters(path), rank=1, receivers=2)
    assert shown(other) == first  # each receiver has its own
    other.end()


@pytest.mark.parametrize("change", ["disabled", "raw", "window", "exposure", "file"])
def test_it_starts_anew_after_a_change(path, change):
    bench = Bench(MODULES, parameters(path))
    first = shown(bench)
    follow(bench)
    if change == "disabled":
        Bench(MODULES, MODULES.parameters(path)).end()
    elif change == "raw":
        Bench(MODULES, MODULES.parameters(output="raw")).end()
    elif change == "file":
        path.unlink()
        save_calibration(path, MODULES.calibration(serial="another one"))
    running = {"window": 5} if change == "window" else {}
    bench = Bench(MODULES, parameters(path, running, acq={"expo_time": 30} if change == "exposure" else {}))
    assert shown(bench) == first
    bench.end()


def test_it_is_saved_under_the_next_free_number(path, tmp_path):
    prefix = str(tmp_path / "followed")
    for _ in range(2):
        follow(Bench(MODULES, parameters(path, {"save_path": prefix}), rank=2, receivers=3))
    follow(Bench(MODULES, parameters(path, {"save_path": prefix}), rank=2, receivers=3), frames=0)
    assert sorted(found.name for found in tmp_path.glob("followed*")) == ["followed_2_0000.h5", "followed_2_0001.h5"]
    start, first, second = (load_calibration(found) for found in (path, *sorted(tmp_path.glob("followed*"))))
    moved = (first.pedestals - start.pedestals)[0].mean(), (second.pedestals - start.pedestals)[0].mean()
    np.testing.assert_allclose(moved, (16 * 37 / 64, 16 * (1 - (3 / 4) ** 6)), rtol=0.02)
    np.testing.assert_array_equal(first.pedestals[1:3], start.pedestals[1:3])
    assert "followed over 3 frames" in first.history[-1]
    assert "followed over 6 frames" in second.history[-1]
    assert first.taken_at > start.taken_at
    Bench(MODULES, MODULES.parameters(tmp_path / "followed_2_0001.h5")).end()


def test_a_folder_that_is_not_there_is_refused_at_once(path, tmp_path):
    with pytest.raises(SavingError, match=r"there is no folder .*nowhere; make it, or give another det.running"):
        Bench(MODULES, parameters(path, {"save_path": str(tmp_path / "nowhere" / "followed")}))


def test_a_calibration_that_changed_meanwhile_is_not_mixed_up(path, tmp_path):
    bench = Bench(MODULES, parameters(path, {"save_path": str(tmp_path / "followed")}))
    bench.process(DRIFTED)
    path.unlink()
    save_calibration(path, MODULES.calibration(serial="another one"))
    with pytest.raises(ParameterError, match="has changed since the acquisition began"):
        bench.nodes.last()
    bench.nodes.close()


def test_noise_has_to_be_known(tmp_path):
    save_calibration(tmp_path / "a.h5", MODULES.calibration(noise=np.full((6, 1, 512, 1024), np.nan, "f4")))
    with pytest.raises(ParameterError, match=r"det.running_pedestal: .*a\.h5 has no noise of G0"):
        Bench(MODULES, parameters(tmp_path / "a.h5"))


def usable_device() -> str:
    return next((name for name, device in opencl_devices().items() if can_compile(device)), "")


@pytest.mark.skipif(not usable_device(), reason="no OpenCL device")
def test_an_opencl_device_gets_the_pedestals_too(path):
    correction = {"backend": "opencl", "device": usable_device()}
    bench = Bench(MODULES, parameters(path, correction=correction))
    first = shown(bench)
    for _ in range(3):
        bench.process(DRIFTED)
    np.testing.assert_allclose(shown(bench), first * 27 / 64, rtol=0.02)
    bench.end()
