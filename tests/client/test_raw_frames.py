"""Raw frames of a Jungfrau of two receivers: read, saved, shown in a master, and counted packet by packet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tango_bench import TangoBench

from lima2_bliss.client import RAW_FRAME, Acquisition, Detector
from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_receivers.detectors.jungfrau.raw_file import RawFile
from lima2_receivers.detectors.jungfrau.wire import read_stamps
from lima2_receivers.detectors.jungfrau.wire.cli import main

Both = tuple[dict[str, Any], dict[str, Any]]
FRAMES, PACKETS = 12, 128
RECEIVERS = ["id00/limareceiver/jf1", "id00/limareceiver/jf2"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TangoBench]:
    bench = TangoBench(tmp_path_factory.mktemp("tango"), {"jf": 2}, "jungfrau")
    try:
        bench.start_detector("jf", 2, access=True)
        yield bench
    finally:
        bench.close()


@pytest.fixture
def detector(bench: TangoBench) -> Iterator[Detector]:
    detector = Detector("id00/limacontrol/jf", RECEIVERS, "id00/limaimage/jf", proxy=bench.proxy)
    yield detector
    detector.reset()
    detector.close()


@pytest.fixture
def parameters(detector: Detector) -> Both:
    """One module whose packets carry their frame's number."""
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": FRAMES, "expo_time": 1000, "latency_time": 9000}
    acquisition["det"]["beam"] |= {"pattern": "documented", "stamp": True}
    processing["buffers"] |= {"nb_frames_buffer": 50, "nb_input_frames_buffer": 50}
    return acquisition, processing


def run_to_its_end(detector: Detector, parameters: Both) -> Acquisition:
    run = detector.prepare(*parameters)
    run.start()
    run.wait(timeout_s=30)
    return run


def saved_in(folder: Path, source: str) -> dict[str, Any]:
    return {
        "enabled": True,
        "base_path": str(folder),
        "nb_frames_per_file": 4,
        "filename_prefix": f"run_{source}",
    }


def number_of(pixels: np.ndarray) -> int:
    (number,) = np.unique(read_stamps(pixels.reshape(512, 1024)))
    return int(number)


def test_raw_frames_are_read_and_saved_alone_in_their_own_order(detector: Detector, parameters: Both, tmp_path: Path):
    acquisition, processing = parameters
    processing["accumulation"] = {"enabled": True, "nb_frames": 3}
    processing["saving_raw"] |= saved_in(tmp_path, RAW_FRAME)
    run = run_to_its_end(detector, (acquisition, processing))

    assert (run.nb_input_frames, run.nb_frames) == (FRAMES, FRAMES // 3)
    raw = dict(run.frames(source=RAW_FRAME))
    assert list(raw) == list(range(FRAMES))
    assert raw[0].shape == (1, 512, 1024)
    first = number_of(raw[0])
    assert [number_of(pixels) - first for pixels in raw.values()] == list(raw)
    assert run.newest(RAW_FRAME)[0] == FRAMES - 1
    assert number_of(run.frame(7, RAW_FRAME)) - first == 7

    files = run.close()
    assert list(files) == [RAW_FRAME]
    status = run.status()
    assert (status.processed, status.saved, status.readable) == (FRAMES // 3, FRAMES, FRAMES)
    assert status.intake["packets_received"] == FRAMES * PACKETS
    assert status.intake["packets_missing"] == 0
    assert [each.pipeline.intake["packets_received"] for each in status.receivers] == [FRAMES // 2 * PACKETS] * 2
    assert len(run.files()) == 4
    with RawFile(files[RAW_FRAME]) as saved:
        assert saved.numbers.tolist() == list(range(first, first + FRAMES))
        assert saved.frame_index is not None
        assert saved.frame_index.tolist() == list(range(FRAMES))
        assert (saved.packet_counts == PACKETS).all()
        for index, pixels in raw.items():
            np.testing.assert_array_equal(saved.stack(index), pixels.reshape(1, 512, 1024))


def test_images_and_raw_frames_are_saved_beside_each_other(detector: Detector, parameters: Both, tmp_path: Path):
    acquisition, processing = parameters
    acquisition["det"]["beam"]["faults"] = {"lost_packets": [{"frame": 5, "module": 0, "interface": 0, "packet": 9}]}
    acquisition["det"]["receiving"] |= {"incomplete": "skip", "timeout_s": 0.2}
    processing["saving"] |= saved_in(tmp_path, "frame")
    processing["saving_raw"] |= saved_in(tmp_path, RAW_FRAME)
    run = run_to_its_end(detector, (acquisition, processing))
    files = run.close()

    assert list(files) == ["frame", RAW_FRAME]
    status = run.status()
    assert (status.received, status.processed, status.invalid) == (FRAMES, FRAMES, 1)
    assert status.intake["packets_missing"] == 1
    with RawFile(files[RAW_FRAME]) as saved:
        assert saved.flags.tolist() == [2 if index == 5 else 0 for index in range(FRAMES)]
        lacking = saved.stack(5)
        assert lacking is not None
        assert (lacking[0, 36:40] == 0xFFFF).all()
        assert np.argwhere(~saved.mask(5)).tolist() == [[0, 9]]
        assert len(saved.datagrams(5)) == PACKETS - 1


def test_a_source_that_there_is_not_is_named(detector: Detector, parameters: Both) -> None:
    run = run_to_its_end(detector, parameters)
    assert run._reading.info(RAW_FRAME) == FrameInfo(1, 512, 1024, np.dtype("<u2"))
    with pytest.raises(ParameterError, match="there are frame, input_frame, raw_frame"):
        run.frame(0, "sparse_frame")
    run.close()


def test_raw_frames_of_hits_are_saved_beside_the_sparse_frames(detector: Detector, parameters: Both, tmp_path: Path):
    acquisition, _ = parameters
    det = acquisition["det"]
    det["beam"] |= {"pattern": "bragg", "images": 4, "hit_rate": 0.5, "stamp": False}
    path = str(tmp_path / "calibration.h5")
    detector.command("simulated_calibration", {"path": path, "det": det})
    det["correction"] |= {"output": "int32", "calibration": path}
    poni = tmp_path / "jf.poni"
    poni.write_text(detector.command("poni", det))
    processing = {
        "class_name": "LimaProcessingSmx",
        "fai": {"poni_path": str(poni), "nb_bins": 100},
        "peaks": {"min_spots": 3},
        "saving_sparse": saved_in(tmp_path, "sparse_frame"),
        "saving_raw": saved_in(tmp_path, RAW_FRAME),
        "veto_raw": {"save": "hits"},
    }
    run = run_to_its_end(detector, (acquisition, processing))
    is_hit = run.results("smx_frame")["is_hit"] != 0
    files = run.close()

    assert list(files) == ["sparse_frame", RAW_FRAME]
    status = run.status()
    assert (status.saved, status.vetoed) == (FRAMES, 0)  # the sparse frames count
    vetoed = sum(each.source(RAW_FRAME).vetoed for each in status.receivers)
    assert 0 < vetoed == np.count_nonzero(~is_hit) < FRAMES
    with RawFile(files[RAW_FRAME]) as saved:
        assert list(saved.seen()) == np.flatnonzero(is_hit).tolist()
        assert (saved.flags[~is_hit] == 16).all()
        numbers = saved.numbers[is_hit]
        assert (np.diff(numbers) == np.diff(np.flatnonzero(is_hit))).all()


def test_a_raw_file_goes_through_the_same_pipeline_again(detector: Detector, parameters: Both, tmp_path: Path, capsys):
    acquisition, processing = parameters
    det = acquisition["det"]
    det["beam"]["faults"] = {"lost_packets": [{"frame": 6, "module": 0, "interface": 0, "packet": 70}]}
    det["receiving"] |= {"incomplete": "pass", "timeout_s": 0.2}
    processing["saving_raw"] |= saved_in(tmp_path, "first")
    first = run_to_its_end(detector, (acquisition, processing))
    images = dict(first.frames())
    file = first.close()[RAW_FRAME]

    det["wire"] = "external"
    processing["saving_raw"] |= {"filename_prefix": "again"}
    again = detector.prepare(acquisition, processing)
    again.start()
    to = [word for address in detector.command("udp_addresses", None) for word in ("--to", address)]
    main([*to, "--replay", str(file), "--rate", "200", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["datagrams"], told["missing"]) == (FRAMES, FRAMES * PACKETS - 1, 1)
    again.wait(timeout_s=30)
    for index, pixels in again.frames():
        np.testing.assert_array_equal(pixels, images.pop(index))
    assert not images
    with RawFile(file) as before, RawFile(again.close()[RAW_FRAME]) as after:
        assert after.numbers.tolist() == before.numbers.tolist()
        for index in range(FRAMES):
            np.testing.assert_array_equal(after.stack(index), before.stack(index))
            np.testing.assert_array_equal(after.mask(index), before.mask(index))
            np.testing.assert_array_equal(after.headers(index)["timestamp"], before.headers(index)["timestamp"])
    assert again.status().intake["packets_missing"] == 1
