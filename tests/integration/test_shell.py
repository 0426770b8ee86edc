"""What a user types into the real BLISS shell, and what comes back."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from lima2_bliss.stack import Stack
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

RECEIVER = "lima2_receiver/simulator_1"
RECEIVER_DEVICE = "id00/limareceiver/simulator1"
ERROR = re.compile(r"!!! === (.*?) === !!!", re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def plain_detector(shell: Any) -> None:
    """The detector as its configuration file has it."""
    shell.run("simulator.reset_settings()")
    shell.run("simulator.roi_counters.clear()")
    shell.run("simulator.roi_profiles.clear()")


def errors(printed: str) -> list[str]:
    """The errors in what the shell printed, each on one line."""
    return [" ".join(found.split()) for found in ERROR.findall(printed)]


def done(printed: str) -> str:
    """What a scan printed, that must have ended well."""
    assert errors(printed) == []
    assert "DONE" in printed
    return printed


def points(shell: Any) -> int:
    """How many points the running scan shows."""
    shown = re.findall(r"RUNNING +(\d+)", shell.screen())
    return int(shown[-1]) if shown else 0


@dataclass(frozen=True)
class Saved:
    """Where the last scan of a shell was saved."""

    number: int
    path: Path

    @property
    def images(self) -> Path:
        """Directory of the image files."""
        return self.path.parent / f"scan{self.number:04d}"

    def measured(self) -> dict[str, np.ndarray]:
        """What the scan's file holds under ``measurement``."""
        with h5py.File(self.path, locking=False) as file:
            return {name: np.asarray(data) for name, data in file[f"{self.number}.1/measurement"].items()}


def saved(shell: Any) -> Saved:
    """Number and file of the last scan."""
    told = shell.run("SCANS[-1]")
    found = re.search(r"Scan\(number=(\d+), .*path=(\S+)\)", told)
    assert found, told
    return Saved(int(found[1]), Path(found[2]))


def counts_of(shell: Any) -> tuple[int, int]:
    """(images processed, images saved) of the last acquisition as the detector tells it, without a fault."""
    told = shell.run("simulator")
    found = re.search(r"(\d+) images processed .*?, (\d+) saved, none lost", told)
    assert found, told
    return int(found[1]), int(found[2])


# --- looking ----------------------------------------------------------------------------------------------------------


def test_typing_the_detector_tells_what_it_is_and_how_it_is_set(shell: Any) -> None:
    told = shell.run("simulator")
    assert errors(told) == []
    for line in (
        r"State: +IDLE",
        rf"receiver +{RECEIVER_DEVICE} +IDLE",
        r"receiver +id00/limareceiver/simulator2 +IDLE",
        r"Detector: +1024 x 1024 pixels",
        r"compression bshuf_lz4",
        r"Last acquisition",
    ):
        assert re.search(line, told), f"{line!r} not in:\n{told}"


def test_counters_are_listed_and_those_of_a_roi_come_and_go(shell: Any) -> None:
    assert "simulator:image " in shell.run("lscnt()")
    shell.run('simulator.roi_counters.set("spot", (10, 20, 30, 40))')
    shell.run('simulator.roi_profiles.set("rows", (0, 0, 64, 32))')
    listed = shell.run("lscnt()")
    for counter in ("spot_sum", "spot_avg", "spot_std", "spot_min", "spot_max", "rows"):
        assert re.search(rf"(?m)^simulator:{counter} +[01]D ", listed), listed
    shell.run('simulator.roi_counters.remove("spot")')
    shell.run('simulator.roi_profiles.remove("rows")')
    assert "spot_sum" not in shell.run("lscnt()")


# --- scans ------------------------------------------------------------------------------------------------------------


def test_a_count_prints_the_roi_of_the_image(shell: Any) -> None:
    shell.run('simulator.roi_counters.set("beam", (462, 462, 100, 100))')
    counted = done(shell.run("ct(0.05, simulator)"))
    expected = expected_frame(SimulatorParameters(), 0)[0, 462:562, 462:562]
    shown = {name: float(value) for name, value in re.findall(r"beam_(\w+) += +([-\d.e+]+)", counted)}
    assert shown["sum"] == expected.sum()
    assert shown["min"] == expected.min()
    assert shown["max"] == expected.max()
    assert shown["avg"] == pytest.approx(expected.mean(), rel=1e-4)
    assert shown["std"] == pytest.approx(expected.std(), rel=1e-4)
    assert "(1024, 1024)" in shell.run("simulator.last_image.shape")


def test_a_loopscan_saves_every_image_and_roi_sum(shell: Any) -> None:
    assert "10/10" in done(shell.run("loopscan(10, 0.01, simulator)"))
    measured = saved(shell).measured()
    images, sums = measured["simulator"], measured["simulator_beam_sum"]
    assert images.shape == (10, 1024, 1024)
    assert sums.shape == (10,)
    for index in (0, 9):
        assert images[index, 462:562, 462:562].sum() == sums[index]
    assert counts_of(shell) == (10, 10)


def test_an_ascan_has_an_image_at_every_position(shell: Any) -> None:
    assert "6/6" in done(shell.run("ascan(robx, 0, 1, 5, 0.01, simulator)"))
    measured = saved(shell).measured()
    assert measured["robx"] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert measured["simulator"].shape == (6, 1024, 1024)


def test_a_measurement_group_takes_image_and_roi(shell: Any) -> None:
    shell.run("from bliss.common.measurementgroup import MeasurementGroup")
    shell.run('images = MeasurementGroup("images", {"counters": ["simulator:image", "simulator:beam_sum", "diode"]})')
    assert "simulator:beam_sum" in shell.run("images")
    done(shell.run("loopscan(4, 0.01, images)"))
    shapes = {name: data.shape for name, data in saved(shell).measured().items()}
    records = {f"simulator_{name}" for name in ("frame_flags", "frame_index", "timestamp")}
    assert shapes.keys() == {"elapsed_time", "epoch", "simulator", "simulator_beam_sum", "diode"} | records
    assert shapes["simulator"] == (4, 1024, 1024)
    assert {shapes[name] for name in ("simulator_beam_sum", "diode")} == {(4,)}


def test_a_roi_alone_is_counted_without_saving_images(shell: Any) -> None:
    done(shell.run("loopscan(4, 0.01, simulator.counters.beam_sum)"))
    scan = saved(shell)
    assert scan.measured().keys() == {"elapsed_time", "epoch", "simulator_beam_sum"}
    assert not list(scan.images.glob("*.h5"))
    assert counts_of(shell) == (4, 0)


def test_ctrl_c_ends_a_timescan_at_once_and_the_next_scan_works(shell: Any, eventually: Callable[..., None]) -> None:
    begun = shell.begin("timescan(0.02, simulator)")
    eventually(lambda: points(shell) >= 20, 20)
    stopped = time.monotonic()
    shell.press("C-c")
    scanned = shell.finish(begun)
    assert time.monotonic() - stopped < 2.0
    assert "ABORTED" in scanned
    assert len(errors(scanned)) == 1
    scan = saved(shell)
    processed, count = counts_of(shell)
    assert processed == count >= 20
    with h5py.File(scan.images / "simulator_master.h5") as master:
        images = master["entry_0000/measurement/data"]
        assert images.shape == (count, 1024, 1024)
        assert int(images[-1].sum()) == int(expected_frame(SimulatorParameters(), 0).sum())
    assert scan.measured()["simulator_beam_sum"].shape == (count,)
    assert "3/3" in done(shell.run("loopscan(3, 0.01, simulator)"))


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'simulator.roi_counters.set("far", (1000, 1000, 100, 100))',
            r"ParameterError: ROI 'far' .*outside the image of 1024 x 1024",
        ),
        ('simulator.roi_counters.set("flat", (10, 10, 0, 10))', r"'flat' .*width and height >= 1"),
        ('simulator.roi_counters.set("beam-2", (10, 10, 10, 10))', r"'beam-2': use letters, digits"),
        ("simulator.image.roi = (0, 0, 2000, 10)", r"'image.roi' .*outside the image of 1024 x 1024"),
        ("simulator.image.binning = 100", r"binning = 100: .*from 1 to 64"),
        ("ct(5000, simulator)", r"exposure 5000 s is out of range \(1e-06 to 1000 s\)"),
        ("ct(1e-9, simulator)", r"1e-09 s .*below 1 us"),
        ("simulator.acquisition.exposure = 1", r"exposure: unknown parameter \(settings: latency_time"),
        ('simulator.detector["sizes.x"] = 512', r"has no 'sizes.x'; .*'size.x'"),
        ('simulator.detector["size.x"] = 3', r"det.size.x = 3: .*greater than or equal to 8"),
        ('simulator.saving.compression = "rar"', r"compression = 'rar': .*'zstd'"),
    ],
)
def test_a_mistake_gives_one_clear_error_and_changes_nothing(shell: Any, line: str, told: str) -> None:
    printed = shell.run(line)
    found = errors(printed)
    assert len(found) == 1
    assert re.search(told, found[0]), found[0]
    assert "Traceback" not in printed
    assert "starting Scan" not in printed
    assert '"far"' not in shell.run("list(simulator.roi_counters)")


def test_a_missing_mask_is_told_before_the_scan_starts(shell: Any) -> None:
    shell.run('simulator.processing.mask = "/no/such/mask.npy"')
    printed = shell.run("loopscan(3, 0.01, simulator)")
    shell.run("simulator.processing.mask = None")
    (found,) = errors(printed)
    assert "/no/such/mask.npy" in found
    assert "starting Scan" not in printed


def test_a_roi_that_the_image_no_longer_holds_is_left_out_until_it_is_there_again(shell: Any) -> None:
    printed = shell.run("simulator.image.roi = (0, 0, 200, 100)")
    assert re.search(r"'beam' .*is left out of scans: not wholly on the image of 200 x 100", " ".join(printed.split()))
    assert "beam_sum" not in done(shell.run("loopscan(3, 0.01, simulator)"))
    shell.run("simulator.image.roi = None")
    assert "left out" not in shell.run("simulator.roi_counters")


@pytest.mark.parametrize("setting", ["base_path", "images_path_template"])
def test_a_directory_that_cannot_be_there_is_told_and_no_image_is_taken(
    shell: Any, setting: str, tmp_path: Path
) -> None:
    shell.run(f"usual = SCAN_SAVING.{setting}")
    shell.run(f'SCAN_SAVING.{setting} = "/proc/nowhere"')
    printed = shell.run("loopscan(3, 0.01, simulator)")
    shell.run(f"SCAN_SAVING.{setting} = usual")
    shell.run(f"SCAN_SAVING.base_path = {str(tmp_path)!r}")  # BLISS counts scans from 1 again in another place
    (found,) = errors(printed)
    assert "/proc/nowhere" in found
    assert not re.search(r"[1-3]/3", printed)
    assert "IDLE" in shell.run("simulator.state")
    done(shell.run("loopscan(3, 0.01, simulator)"))


@pytest.fixture
def second_file(shell: Any, stack: Stack) -> Iterator[Path]:
    """A further configuration file, gone after the test."""
    path = stack.config_dir / "detectors" / "second.yml"
    yield path
    path.unlink()
    assert "successful" in shell.run("config.reload()")


def test_two_objects_of_one_name_are_told_with_both_files(shell: Any, second_file: Path) -> None:
    second_file.write_text(second_file.with_name("simulator.yml").read_text())
    printed = shell.run("config.reload()")
    (found,) = re.findall(r"Duplicated name (.*)", printed)
    assert found == "simulator in detectors/simulator.yml, already in detectors/second.yml"


def test_two_objects_of_one_detector_are_refused(shell: Any, second_file: Path) -> None:
    described = second_file.with_name("simulator.yml").read_text()
    second_file.write_text(described.replace("name: simulator\n", "name: twin\n"))
    shell.run("config.reload()")
    printed = " ".join(shell.run('config.get("twin")').split())
    assert printed.count("ParameterError") == 1
    assert "detectors 'simulator' and 'twin' have the same control id00/limacontrol/simulator" in printed


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_killed_receiver_is_named_at_once_and_scans_go_on_after_its_restart(
    shell: Any, stack: Stack, eventually: Callable[..., None]
) -> None:
    shell.run("simulator.saving.frames_per_file = 10")
    begun = shell.begin("loopscan(2000, 0.02, simulator)")
    eventually(lambda: points(shell) >= 50, 30)
    record = stack.record()
    assert record is not None
    killed = time.monotonic()
    os.kill(record.pids[RECEIVER], signal.SIGKILL)
    shell.wait(rf"!!! === [^=]*{RECEIVER_DEVICE}", 2.0, after=shell.screen().rfind("loopscan(2000"))
    assert time.monotonic() - killed < 2.0
    scanned = shell.finish(begun, 10)
    assert time.monotonic() - killed < 4.0
    assert len(errors(scanned)) == 1

    directory = saved(shell).images
    expected = int(expected_frame(SimulatorParameters(), 0).sum())
    complete = sorted(directory.glob("simulator_[01]_*.h5"))
    assert {path.name for path in complete} >= {"simulator_0_00000.h5", "simulator_0_00001.h5", "simulator_1_00000.h5"}
    for path in complete:
        with h5py.File(path) as file:
            images = file["entry_0000/instrument/simulator/data"]
            assert {int(image.sum()) for image in images} == {expected}, path
    with h5py.File(directory / "simulator_master.h5") as master:
        images = master["entry_0000/measurement/data"]
        assert {int(images[index].sum()) for index in range(40)} == {expected}

    told = shell.run("simulator")
    assert re.search(rf"receiver +{RECEIVER_DEVICE} +not running", told)
    refused = shell.run("ct(0.05, simulator)")
    (found,) = errors(refused)
    assert RECEIVER_DEVICE in found
    assert "starting Scan" not in refused

    stack.restart(RECEIVER)
    for _ in range(2):
        assert "5/5" in done(shell.run("loopscan(5, 0.01, simulator)"))
    assert counts_of(shell) == (5, 5)
    shell.run("simulator.saving.reset()")


def test_settings_and_rois_are_there_in_the_next_shell(
    shell: Any, open_shell: Callable[[str, Path], Any], data_path: Path
) -> None:
    shell.run('simulator.roi_counters.set_arc("ring", (512, 512, 100, 150, 0, 360))')
    shell.run("simulator.acquisition.latency_time = 0.003")
    shell.close()  # a session runs only once at a time
    second = open_shell("test_shell_second_transcript", data_path / "second")
    assert re.search(r"ring +arc +center=\(512, 512\) r1=100 r2=150", second.run("simulator.roi_counters"))
    assert "0.003" in second.run("simulator.acquisition.latency_time")
    assert "ring_sum" in done(second.run("ct(0.01, simulator)"))
    second.run("simulator.reset_settings()")
    second.run("simulator.roi_counters.clear()")
