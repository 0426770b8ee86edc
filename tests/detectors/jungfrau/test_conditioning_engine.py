"""Raw frames through the engine: conditioned, processed by the pipelines, and a frame source of their own."""

from __future__ import annotations

import numpy as np
import pytest
from conditioning_rig import Modules, receivers

from lima2_bliss.contract import FrameFlags
from lima2_bliss.contract.records import SMX_FRAME_STREAM
from lima2_receivers.detectors.jungfrau.calibration_file import save_calibration
from lima2_receivers.detectors.jungfrau.pedestal_files import load_sums
from lima2_receivers.engine.plugin import RAW_FRAME
from lima2_receivers.pipelines.legacy import PIPELINE as LEGACY
from lima2_receivers.pipelines.smx import PIPELINE as SMX

MODULES = Modules(1)
SMALL = {"fifo": {"nb_fifo_frames": 3}, "buffers": {"nb_frames_buffer": 2, "nb_input_frames_buffer": 2}}
EVERYWHERE = {"topleft": {"x": 10, "y": 10}, "dimensions": {"x": 100, "y": 100}}


def flat(photons: int) -> np.ndarray:
    return MODULES.raw(np.full((1, 512, 1024), photons, float))


def spotted() -> np.ndarray:
    """A frame with thirty spots on a background."""
    random = np.random.default_rng(3)
    photons = random.poisson(2.0, (1, 512, 1024)).astype(float)
    for y, x in zip(random.integers(20, 490, 30), random.integers(20, 1000, 30), strict=True):
        photons[0, y - 1 : y + 2, x - 1 : x + 2] += 200
    return MODULES.raw(photons)


FLAT = [flat(photons) for photons in range(5)]


@pytest.fixture(scope="module")
def calibration(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "one.h5"
    save_calibration(path, MODULES.calibration())
    return str(path)


make_receiver = pytest.fixture(receivers)


@pytest.mark.parametrize("threads", [1, 4])
def test_images_and_raw_frames_come_out_in_order(make_receiver, calibration, threads):
    receiver = make_receiver(LEGACY, MODULES, [*FLAT, None], flags={3: FrameFlags.INCOMPLETE})
    parameters = MODULES.parameters(calibration, acq={"nb_frames": 60})
    run = receiver.acquire(
        parameters,
        class_name="LimaProcessingLegacy",
        thread={"nb_threads": threads},
        statistics={"rect_rois": [EVERYWHERE]},
        saving={"enabled": True, "base_path": "/", "filename_prefix": "images"},
        saving_raw={"enabled": True, "base_path": "/", "filename_prefix": "raw"},
        **SMALL,
    )
    assert run.error is None
    images, raw = (receiver.writers[name].written for name in ("images", "raw"))
    assert [index for index, *_ in images] == [index for index, *_ in raw] == list(range(60))
    lost = set(range(5, 60, 6))
    assert {index for index, first, *_ in raw if first is None} == lost
    assert {index for index, first, *_ in images if first is None} == lost | {3}  # incomplete: a raw frame only
    assert [int(first) for _, first, *_ in raw if first is not None] == [n for n in range(60) if n not in lost]
    assert raw[3][2] == images[3][2] == FrameFlags.INCOMPLETE
    averages = run.log.read("roi_statistics", 0)["avg"]
    expected = np.array([n % 6 if n % 6 < 5 and n != 3 else np.nan for n in range(60)])
    np.testing.assert_allclose(averages, expected, atol=1e-3)
    assert receiver.writers["images"].metadata["conditioning"]["calibration"]["path"] == calibration
    with run.stores[RAW_FRAME].lease(58) as (pixels, meta):
        assert pixels.shape == (1, 512, 1024)
        assert (pixels[0, 0, 0], meta.index) == (58, 58)
        assert set(meta.extras) == {"packet_headers", "packet_mask", "packets"}
    counts = run.status().counts
    assert (counts.received, counts.lost, counts.processed, counts.invalid) == (50, 10, 49, 11)


@pytest.mark.parametrize("threads", [1, 4])
def test_raw_frames_are_single_where_images_are_sums(make_receiver, calibration, threads):
    receiver = make_receiver(LEGACY, MODULES, FLAT)
    run = receiver.acquire(
        MODULES.parameters(calibration, "int32", acq={"nb_frames": 40}),
        class_name="LimaProcessingLegacy",
        thread={"nb_threads": threads},
        accumulation={"enabled": True, "nb_frames": 5},
        saving={"enabled": True, "base_path": "/", "filename_prefix": "sums"},
        saving_raw={"enabled": True, "base_path": "/", "filename_prefix": "raw"},
        **SMALL,
    )
    assert run.error is None
    with run.stores["frame"].lease(7) as (pixels, _):
        assert (pixels == 0 + 1 + 2 + 3 + 4).sum() > pixels.size - 40  # but for pixels that are numbered
    assert [index for index, *_ in receiver.writers["sums"].written] == list(range(8))
    assert [int(first) for _, first, *_ in receiver.writers["raw"].written] == list(range(40))


@pytest.mark.parametrize("threads", [1, 4])
def test_raw_frames_of_hits_are_saved(make_receiver, calibration, tmp_path, threads):
    y, x = np.mgrid[:514, :1030]
    np.save(tmp_path / "radius.npy", np.hypot(y - 257, x - 515).astype("f4"))
    np.save(tmp_path / "centers.npy", np.linspace(0, 576, 60).astype("f4"))
    receiver = make_receiver(SMX, MODULES, [FLAT[2], spotted(), FLAT[2]])
    run = receiver.acquire(
        MODULES.parameters(calibration, "int32", acq={"nb_frames": 24}),
        class_name="LimaProcessingSmx",
        thread={"nb_threads": threads},
        fai={"radius1d_path": str(tmp_path / "centers.npy"), "radius2d_path": str(tmp_path / "radius.npy")},
        saving_raw={"enabled": True, "base_path": "/", "filename_prefix": "raw"},
        veto_raw={"save": "hits"},
        fifo={"nb_fifo_frames": 3},
        buffers={"nb_frames_buffer": 2, "nb_input_frames_buffer": 2, "nb_sparse_frames_buffer": 2},
    )
    assert run.error is None
    written = receiver.writers["raw"].written
    assert [index for index, first, *_ in written if first is not None] == list(range(1, 24, 3))
    assert [flags for _, first, flags, _ in written if first is None] == [FrameFlags.VETOED] * 16
    assert run.log.read(SMX_FRAME_STREAM, 0)["is_hit"].tolist() == [n % 3 == 1 for n in range(24)]
    assert run.stores["frame"].last_index == 23


def test_pedestals_are_added_up_and_written_at_the_end(make_receiver, tmp_path):
    receiver = make_receiver(LEGACY, MODULES, [flat(0)])
    pedestals = {"enabled": True, "path": str(tmp_path / "dark"), "skip_frames": 3}
    parameters = MODULES.parameters(output="raw", acq={"nb_frames": 20}, pedestals=pedestals)
    assert receiver.acquire(parameters, class_name="LimaProcessingLegacy", **SMALL).error is None
    assert load_sums(tmp_path / "dark_0.h5").taker.frames == {"G0": 17}
    with pytest.raises(OSError, match="exists already and is kept"):
        receiver.acquire(parameters, class_name="LimaProcessingLegacy", **SMALL)
