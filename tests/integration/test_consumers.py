"""Other processes read a detector's streams with blissdata 1.1 and 2.4, during the scan and after it.

With blissdata 2 once alone, and once with the plugin of this package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from consumers import BLISSDATA2, PLUGIN, checksum, finished, following

from lima2_bliss.stack import Stack
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

FRAMES = 60

SCAN = f"""
import json
import zlib
from lima2_bliss.publishing.readers import DetectorData
detector = config.get("simulator")
detector.reset_settings()
detector.roi_counters.clear()
detector.roi_profiles.clear()
detector.detector.update({{
    "size.x": 320, "size.y": 256, "generator.type": "diffraction", "nb_prefetch_frames": 8, "stamp_frame_number": True,
}})
detector.roi_counters.set("beam", (130, 98, 60, 60))
detector.roi_counters.set_arc("ring", (160, 128, 40, 60, 0, 360))
detector.roi_profiles.set("rows", (10, 20, 200, 100))
scan = loopscan({FRAMES}, 0.02, *detector.counters)
outcome = detector.last_outcome
data = DetectorData(scan, "simulator")
last, preview = data.last_preview()
print(json.dumps({{
    "key": scan._scan_data.key,
    "file": scan.scan_info["filename"],
    "number": scan.scan_number,
    "master": str(outcome.files["frame"]),
    "acquisition": detector.last_acquisition.acquisition_parameters,
    "preview_index": data["preview_index"][:, 0].tolist(),
    "last_preview": [last, zlib.crc32(preview.tobytes())],
    "streams": sorted(name.partition(":")[2] for name in scan.streams if name.startswith("simulator:")),
}}))
detector.reset_settings()
detector.roi_counters.clear()
detector.roi_profiles.clear()
"""


@dataclass(frozen=True)
class Seen:
    """One scan, and what consumers read of it: blissdata 1.1, 2.4 alone and 2.4 with the plugin, during and after."""

    scan: dict[str, Any]
    during1: dict[str, Any]
    during2: dict[str, Any]
    during2_plugin: dict[str, Any]
    after1: dict[str, Any]
    after2: dict[str, Any]
    after2_plugin: dict[str, Any]

    @property
    def frames(self) -> np.ndarray:
        """The images in the master file."""
        with h5py.File(self.scan["master"]) as master:
            return np.asarray(master["entry_0000/measurement/data"])

    def measured(self, name: str) -> np.ndarray:
        """A dataset of the scan's own file."""
        with h5py.File(self.scan["file"], locking=False) as file:
            return np.asarray(file[f"{int(self.scan['number'])}.1/measurement/{name}"])


@pytest.fixture(scope="module")
def seen(
    stack: Stack, bliss_in: Callable[[Path], Callable[..., str]], tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """A scan of two receivers with two consumers that follow it and two that read it afterwards."""
    if not BLISSDATA2.is_file():
        pytest.fail(f"{BLISSDATA2.parents[1]} is missing; run: make setup-consumer", pytrace=False)
    run = bliss_in(tmp_path_factory.mktemp("consumers"))
    first, second = Path(sys.executable), BLISSDATA2
    with ExitStack() as consumers:
        during1 = consumers.enter_context(following(first, "consumer_blissdata1.py", stack))
        during2 = consumers.enter_context(following(second, "consumer_blissdata2.py", stack))
        plugin = consumers.enter_context(following(second, "consumer_blissdata2.py", stack, PLUGIN))
        scan = json.loads(run(SCAN).splitlines()[-1])
        return Seen(
            scan,
            during1(),
            during2(),
            plugin(),
            finished(first, "consumer_blissdata1.py", stack, scan["key"]),
            finished(second, "consumer_blissdata2.py", stack, scan["key"]),
            finished(second, "consumer_blissdata2.py", stack, scan["key"], PLUGIN),
        )


def test_the_consumers_use_the_blissdata_they_are_for(seen: Seen) -> None:
    assert {seen.during1["version"], seen.after1["version"]} == {"1.1.4"}
    assert {seen.during2["version"], seen.after2["version"]} == {"2.4.5"}
    assert {each["key"] for each in (seen.during1, seen.during2, seen.after1, seen.after2)} == {seen.scan["key"]}


def test_consumers_that_follow_have_begun_while_the_scan_ran(seen: Seen) -> None:
    assert seen.during1["state"] == seen.during2["state"] == "STARTED"


def test_every_stream_is_there_for_everyone(seen: Seen) -> None:
    names = seen.scan["streams"]
    assert {"image", "preview", "preview_index", "frame_index", "timestamp", "beam_sum", "ring_std", "rows"} < {*names}
    for consumer in (seen.during1, seen.during2, seen.during2_plugin, seen.after1, seen.after2, seen.after2_plugin):
        assert sorted(consumer["streams"]) == names


def test_streams_tell_type_and_shape(seen: Seen) -> None:
    told = {
        name: (stream["dtype"], tuple(stream["shape"]), stream["plugin"])
        for name, stream in seen.after2["streams"].items()
    }
    assert told["image"] == ("uint16", (256, 320), "lima")
    assert told["rows"][:2] == ("float64", (100,))
    assert told["beam_sum"][:2] == ("float64", ())
    assert told["frame_index"][:2] == ("int64", ())


def test_all_consumers_read_the_same_points(seen: Seen) -> None:
    for name in seen.scan["streams"]:
        points = seen.after1["streams"][name]["points"]
        assert len(points) == FRAMES or name.startswith("preview"), name
        for consumer in (seen.during1, seen.during2, seen.during2_plugin, seen.after2, seen.after2_plugin):
            assert consumer["streams"][name]["points"] == points, name


def test_points_are_the_same_by_slice_and_by_index(seen: Seen) -> None:
    for consumer in (seen.after1, seen.after2, seen.after2_plugin):
        for name, stream in consumer["streams"].items():
            points = stream["points"]
            count = len(points)
            assert stream["by_index"] == points, name
            assert stream["middle"] == points[count // 3 : count // 2], name
            assert stream["last"] == points[-1], name
            assert stream["sealed"], name


@pytest.mark.parametrize("consumer", ["during1", "during2", "during2_plugin"])
def test_points_come_in_order_and_batches_follow_each_other(seen: Seen, consumer: str) -> None:
    streams = getattr(seen, consumer)["streams"]
    assert streams["frame_index"]["points"] == list(range(FRAMES))
    for name, stream in streams.items():
        assert stream["firsts"][0] == 0, name
        assert stream["firsts"] == sorted(set(stream["firsts"])), name
    for name in ("image", "beam_sum", "timestamp"):
        assert len(streams[name]["firsts"]) > 5, f"{name} came in {len(streams[name]['firsts'])} batches: not followed"


def test_images_are_those_of_the_file_and_of_the_detector(seen: Seen) -> None:
    parameters = SimulatorParameters.model_validate(seen.scan["acquisition"])
    read = seen.after2["streams"]["image"]["points"]
    assert read == [checksum(frame) for frame in seen.frames]
    assert read == [checksum(expected_frame(parameters, index)[0]) for index in range(FRAMES)]


def test_live_images_are_frames_of_the_scan_and_go_forward(seen: Seen) -> None:
    images = seen.after2["streams"]["image"]["points"]
    live = seen.during2["live"]
    assert len(live) > 5
    numbered = [(index, pixels) for index, pixels in live if index is not None]
    assert all(images[index] == pixels for index, pixels in numbered)
    assert all(pixels in images for _, pixels in live)
    order = [index for index, _ in numbered]
    assert order == sorted(order)


def test_numbers_are_those_of_the_images_and_of_the_scan_file(seen: Seen) -> None:
    frames = seen.frames.astype(np.float64)
    streams = seen.after2["streams"]
    box = frames[:, 98:158, 130:190].reshape(FRAMES, -1)
    rows, columns = np.indices(frames.shape[1:])
    radius = np.hypot(columns - 160, rows - 128)
    ring = frames[:, (radius >= 40) & (radius < 60)]
    for roi, pixels in (("beam", box), ("ring", ring)):
        assert streams[f"{roi}_sum"]["points"] == list(pixels.sum(1))
        assert streams[f"{roi}_min"]["points"] == list(pixels.min(1))
        assert streams[f"{roi}_max"]["points"] == list(pixels.max(1))
        assert streams[f"{roi}_avg"]["points"] == pytest.approx(list(pixels.mean(1)), rel=1e-6)
        assert streams[f"{roi}_std"]["points"] == pytest.approx(list(pixels.std(1)), rel=1e-5)
        assert streams[f"{roi}_sum"]["points"] == list(seen.measured(f"simulator_{roi}_sum"))
    profile = frames[:, 20:120, 10:210].sum(2)
    assert streams["rows"]["points"] == [checksum(points) for points in profile]
    assert np.array_equal(seen.measured("simulator_rows"), profile)
    assert not any(streams["frame_flags"]["points"])
    assert np.all(np.diff(streams["timestamp"]["points"]) > 0)


def test_previews_belong_to_frames_of_the_scan(seen: Seen) -> None:
    streams = seen.after2["streams"]
    indices = seen.scan["preview_index"]
    assert streams["preview_index"]["points"] == [checksum(np.array([index])) for index in indices]
    assert len(streams["preview"]["points"]) == len(indices) >= 2
    assert indices == sorted(set(indices))
    assert indices[-1] == FRAMES - 1
    assert seen.scan["last_preview"] == [indices[-1], streams["preview"]["points"][-1]]
    # an image of 256 x 320 pixels is small enough to be its own preview
    assert tuple(streams["preview"]["shape"]) == (256, 320)
    frames = seen.frames.astype(streams["preview"]["dtype"])
    assert streams["preview"]["points"] == [checksum(frames[index]) for index in indices]


@pytest.mark.parametrize(("options", "kind"), [((), "LimaStream"), ((PLUGIN,), "FrameStream")])
def test_images_are_the_same_by_slice_step_view_and_index(
    seen: Seen, stack: Stack, options: Sequence[str], kind: str
) -> None:
    read = finished(BLISSDATA2, "consumer_blissdata2.py", stack, seen.scan["key"], *options, mode="images")
    points = seen.after1["streams"]["image"]["points"]
    assert read["class"] == kind
    assert read["dtype"] == "uint16"
    assert read["points"] == read["by_index"] == read["by_view"] == points
    assert read["steps"] == points[3:40:7]
    assert read["backwards"] == points[12:4:-1]
    assert read["from_the_end"] == points[-3:]
    assert read["empty"][0] == 0


def test_after_redis_was_trimmed_the_plugin_reads_the_files(seen: Seen, stack: Stack) -> None:
    read = finished(BLISSDATA2, "consumer_blissdata2.py", stack, seen.scan["key"], PLUGIN, mode="trim")
    points = seen.after1["streams"]["image"]["points"]
    assert read["points"] == read["by_index"] == read["by_view"] == points
