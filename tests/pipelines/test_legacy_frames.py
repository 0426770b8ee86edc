"""What comes out of the legacy pipeline, against the same computed step by step with NumPy."""

import numpy as np
import pytest

from lima2_bliss.contract import AcquisitionError, FrameFlags, FrameInfo, ImageTransform, RoundRobin
from lima2_receivers.kernels import warm_up
from lima2_receivers.kernels.compilation import compiled_count
from lima2_receivers.kernels.correction import correct_reference
from lima2_receivers.kernels.geometry import transform_reference
from lima2_receivers.pipelines.legacy import PIPELINE
from lima2_receivers.pipelines.trial import Trial

HEIGHT, WIDTH = 60, 81
SHAPE = (HEIGHT, WIDTH)
DTYPES = ("u1", "u2", "u4", "i4", "f4", "f8")


def info(dtype="u2", channels=1) -> FrameInfo:
    return FrameInfo(channels, HEIGHT, WIDTH, np.dtype(dtype))


def random_frames(dtype="u2", number=1, channels=1) -> list[np.ndarray]:
    random = np.random.default_rng(9)
    return [random.integers(0, 120, (channels, *SHAPE)).astype(dtype) for _ in range(number)]


def rectangle(x, y, width, height) -> dict:
    return {"topleft": {"x": x, "y": y}, "dimensions": {"x": width, "y": height}}


@pytest.fixture
def maps(tmp_path):
    random = np.random.default_rng(2)
    arrays = {
        "mask": random.random(SHAPE) < 0.2,
        "background": random.normal(5, 1, SHAPE).astype("f4"),
        "flatfield": random.uniform(0.5, 2, SHAPE).astype("f4"),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return arrays, {name: {"enabled": True, "path": str(tmp_path / f"{name}.npy")} for name in arrays}


def test_without_operations_the_frame_is_the_input_buffer():
    (pixels,) = random_frames()
    processing = {"statistics": {"rect_rois": [rectangle(0, 0, WIDTH, HEIGHT)]}}
    with Trial(PIPELINE, info(), processing=processing) as trial:
        item = trial.item(pixels)
        raw = item.buffer
        for node in (*trial.graph.parallel, *trial.graph.ordered):
            item = node.process(item)
        assert item.buffer is raw
        assert trial.pools == []
        assert item.rows["roi_statistics"]["sum"].tolist() == [pixels.sum()]


@pytest.mark.parametrize("used", ["mask", "background", "flatfield", "background mask", "mask background flatfield"])
@pytest.mark.parametrize(
    "image",
    [
        {},
        {"roi": rectangle(5, 7, 50, 31)},
        {"roi": rectangle(5, 7, 20, 11), "binning": {"x": 3, "y": 2}, "flip": "left_right", "rotation": "90cw"},
        {"flip": "up_down"},
    ],
    ids=["full", "roi", "all", "flip"],
)
def test_corrections_then_geometry(maps, used, image):
    arrays, parameters = maps
    used = used.split()
    dtype = "u2"
    (pixels,) = random_frames(dtype, channels=2)
    processing = {name: parameters[name] for name in used}
    with Trial(PIPELINE, info(dtype, 2), processing=processing, acquisition={"img": image}) as trial:
        item = trial.process(pixels)
        corrected = correct_reference(
            pixels,
            arrays["background"] if "background" in used else None,
            arrays["flatfield"] if "flatfield" in used else None,
            arrays["mask"] if "mask" in used else None,
        )
        expected = transform_reference(corrected, trial.graph.transform, np.dtype("f8"))
        np.testing.assert_allclose(item.pixels, expected, rtol=1e-5, atol=1e-3)
        floating = set(used) != {"mask"}
        binned = "binning" in image
        assert item.pixels.dtype == ("f4" if floating else "u4" if binned else "u2")


@pytest.mark.parametrize("dtype", DTYPES)
def test_accumulation_after_binning_sums_everything(dtype):
    frames = random_frames(dtype, 3)
    acquisition = {"img": {"binning": {"x": 2, "y": 2}}, "acq": {"nb_frames": 3}}
    processing = {
        "accumulation": {"enabled": True, "nb_frames": 3},
        "statistics": {"rect_rois": [rectangle(0, 0, WIDTH // 2, HEIGHT // 2)]},
    }
    with Trial(PIPELINE, info(dtype), processing=processing, acquisition=acquisition) as trial:
        assert [trial.process(pixels) for pixels in frames[:2]] == [None, None]
        item = trial.process(frames[2])
        transform = ImageTransform(SHAPE, (2, 2))
        expected = sum(transform_reference(pixels, transform, np.dtype("f8")) for pixels in frames)
        np.testing.assert_array_equal(item.pixels, expected)
        assert item.rows["roi_statistics"]["sum"][0] == expected.sum()


def test_masked_pixels_do_not_count_in_statistics_and_profiles(maps):
    arrays, parameters = maps
    (pixels,) = random_frames()
    processing = {
        "mask": parameters["mask"],
        "statistics": {"rect_rois": [rectangle(0, 0, WIDTH, HEIGHT)]},
        "profiles": {"rois": [rectangle(0, 0, WIDTH, HEIGHT)] * 2, "directions": ["vertical", "horizontal"]},
    }
    with Trial(PIPELINE, info(), processing=processing) as trial:
        item = trial.process(pixels)
        good = np.where(arrays["mask"], np.nan, pixels[0])
        row = item.rows["roi_statistics"][0]
        assert row["avg"] == pytest.approx(np.nanmean(good))
        assert row["std"] == pytest.approx(np.nanstd(good))
        profiles = item.rows["roi_profiles"]
        assert trial.graph.results[1].shapes == (HEIGHT, WIDTH)
        np.testing.assert_allclose(profiles["avg"][:HEIGHT], np.nanmean(good, 1), rtol=1e-6)
        np.testing.assert_allclose(profiles["std"][HEIGHT:], np.nanstd(good, 0), rtol=1e-6)


def test_a_binned_pixel_counts_unless_all_of_it_is_masked(tmp_path):
    mask = np.zeros(SHAPE, "u1")
    mask[0:2, 0:2] = 1  # one whole bin
    mask[0, 2] = 1  # a quarter of the next
    np.save(tmp_path / "mask.npy", mask)
    processing = {
        "mask": {"enabled": True, "path": str(tmp_path / "mask.npy")},
        "statistics": {"rect_rois": [rectangle(0, 0, 2, 1)]},
    }
    with Trial(PIPELINE, info(), processing=processing, acquisition={"img": {"binning": {"x": 2, "y": 2}}}) as trial:
        row = trial.process(np.full((1, *SHAPE), 10, "u2")).rows["roi_statistics"][0]
        assert (row["avg"], row["sum"]) == (30, 30)


def test_roi_coordinates_are_those_of_the_final_image():
    """A spot at detector x = 70, y = 10 is at image x = 49, y = 70 after turning 90 degrees clockwise."""
    pixels = np.zeros((1, *SHAPE), "u2")
    pixels[0, 10, 70] = 5
    processing = {
        "statistics": {
            "rect_rois": [rectangle(49, 70, 1, 1)],
            "arc_rois": [{"center": {"x": 49.0, "y": 70.0}, "r1": 0, "r2": 0.5, "a1": 0, "a2": 360}],
        }
    }
    with Trial(PIPELINE, info(), processing=processing, acquisition={"img": {"rotation": "90cw"}}) as trial:
        assert trial.process(pixels).rows["roi_statistics"]["sum"].tolist() == [5, 5]


def test_statistics_cover_all_channels_together():
    pixels = np.stack([np.full(SHAPE, 1, "u2"), np.full(SHAPE, 3, "u2")])
    processing = {"statistics": {"rect_rois": [rectangle(2, 2, 3, 3)]}}
    with Trial(PIPELINE, info(channels=2), processing=processing) as trial:
        row = trial.process(pixels).rows["roi_statistics"][0]
        assert (row["min"], row["max"], row["avg"], row["sum"]) == (1, 3, 2, 36)


def test_a_lost_frame_in_an_accumulation_is_flagged_and_left_out():
    frames = random_frames(number=4)
    processing = {"accumulation": {"enabled": True, "nb_frames": 4}}
    acquisition = {"acq": {"nb_frames": 4}}
    for lost in range(4):
        with Trial(PIPELINE, info(), processing=processing, acquisition=acquisition) as trial:
            for index, pixels in enumerate(frames):
                item = trial.process(None if index == lost else pixels)
            assert item.meta.flags == FrameFlags.LOST | FrameFlags.INCOMPLETE
            np.testing.assert_array_equal(
                item.pixels, sum(frame.astype("u4") for index, frame in enumerate(frames) if index != lost)
            )


def test_flags_of_accumulated_frames_are_kept_and_do_not_leak_into_the_next_sum():
    frames = random_frames(number=4)
    processing = {"accumulation": {"enabled": True, "nb_frames": 2}}
    with Trial(PIPELINE, info(), processing=processing, acquisition={"acq": {"nb_frames": 4}}) as trial:
        trial.process(frames[0], FrameFlags.FAILED)
        assert trial.process(frames[1]).meta.flags == FrameFlags.FAILED
        trial.process(frames[2])
        assert trial.process(frames[3]).meta.flags == FrameFlags.GOOD


def test_a_lost_frame_has_rows_that_are_not_a_number():
    processing = {"statistics": {"rect_rois": [rectangle(0, 0, 2, 2)] * 2}}
    with Trial(PIPELINE, info(), processing=processing, rank=1, dispatch=RoundRobin(3)) as trial:
        rows = trial.process(None).rows["roi_statistics"]
        assert rows["frame_idx"].tolist() == [1, 1]
        assert all(np.isnan(rows[name]).all() for name in ("min", "max", "avg", "std", "sum"))


class TestCountRateProtection:
    """1 ms exposures and 20 000 counts/s: more than 20 counts are too many."""

    ACQUISITION = {"acq": {"expo_time": 1000}}

    def protection(self, **more) -> dict:
        return {"max_countrate_protection": {"enabled": True, "max_countrate": 20_000, **more}}

    def test_it_ends_the_acquisition_naming_pixel_value_and_limit(self):
        pixels = np.full((1, *SHAPE), 20, "u2")
        pixels[0, 5, 33] = 21
        with Trial(PIPELINE, info(), processing=self.protection(), acquisition=self.ACQUISITION) as trial:
            with pytest.raises(AcquisitionError, match="x=33 y=5 of frame 0 has 21 counts, more than 20 "):
                trial.process(pixels)
            assert trial.busy == 0

    def test_it_flags_the_frame_when_told_not_to_abort(self, caplog):
        pixels = np.full((1, *SHAPE), 21, "u2")
        processing = self.protection(abort_on_protection=False)
        with Trial(PIPELINE, info(), processing=processing, acquisition=self.ACQUISITION) as trial:
            items = [trial.process(pixels), trial.process(pixels), trial.process(pixels - 1)]
        flags = [item.meta.flags for item in items]
        assert flags == [FrameFlags.FAILED, FrameFlags.FAILED, FrameFlags.GOOD]
        assert len(caplog.records) == 1

    def test_masked_pixels_are_not_watched(self, tmp_path):
        mask = np.zeros(SHAPE, bool)
        mask[1, 2] = True
        np.save(tmp_path / "mask.npy", mask)
        pixels = np.zeros((1, *SHAPE), "u2")
        pixels[0, 1, 2] = 60000
        processing = self.protection() | {"mask": {"enabled": True, "path": str(tmp_path / "mask.npy")}}
        with Trial(PIPELINE, info(), processing=processing, acquisition=self.ACQUISITION) as trial:
            assert trial.process(pixels).meta.flags.valid

    def test_a_limit_that_no_pixel_can_reach_is_said_once_and_costs_nothing(self, caplog):
        acquisition = {"acq": {"expo_time": 100_000_000}}
        with Trial(PIPELINE, info("u1"), processing=self.protection(), acquisition=acquisition) as trial:
            assert trial.graph.parallel == []
        assert "cannot act" in caplog.text


@pytest.mark.parametrize("dtype", DTYPES)
def test_after_the_warm_up_no_frame_waits_for_the_compiler(maps, dtype):
    _, parameters = maps
    warm_up([dtype])
    before = compiled_count()
    measuring = {
        "statistics": {"rect_rois": [rectangle(0, 0, 5, 5)]},
        "profiles": {"rois": [rectangle(0, 0, 5, 5)] * 2, "directions": ["vertical", "horizontal"]},
        "max_countrate_protection": {"enabled": True, "max_countrate": 200, "ignore_max_value": True},
    }
    for used in ((), ("mask",), ("background",), ("flatfield",), ("mask", "background", "flatfield")):
        for binning in (1, 2):
            for rotation in ("none", "90ccw"):
                for depth in (1, 2, 70_000):
                    processing = measuring | {name: parameters[name] for name in used}
                    processing["accumulation"] = {"enabled": True, "nb_frames": depth}
                    image = {"binning": {"x": binning, "y": binning}, "rotation": rotation}
                    acquisition = {"img": image, "acq": {"nb_frames": 0, "expo_time": 1_000_000}}
                    with Trial(PIPELINE, info(dtype), processing=processing, acquisition=acquisition) as trial:
                        for pixels in random_frames(dtype, 2):
                            trial.process(pixels)
    assert compiled_count() == before
