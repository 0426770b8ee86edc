"""Stream definitions of the pipelines, and the values they take from result rows."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import LegacyParameters, SmxParameters
from lima2_bliss.contract.records import ROI_STATISTICS
from lima2_bliss.publishing.accumulated import BinnedImage, merged_mean, merged_sum
from lima2_bliss.publishing.hit_rate import HitRate
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.preview import PREVIEW_SIDE, make_preview, preview_shape
from lima2_bliss.publishing.smx_streams import hit_streams, spot_streams
from lima2_bliss.publishing.streams import (
    legacy_streams,
    pipeline_streams,
    preview_streams,
    profile_streams,
    roi_streams,
    row_counts,
    rows_per_frame,
    smx_streams,
)

FRAME = FrameInfo(1, 1030, 514, np.dtype("<u2"))


def processing(**sections) -> LegacyParameters:
    return LegacyParameters.model_validate(sections)


RECT = {"topleft": {"x": 0, "y": 0}, "dimensions": {"x": 30, "y": 20}}


def test_the_legacy_pipeline_gives_image_frame_roi_profile_and_preview_streams():
    parameters = processing(
        statistics={"rect_rois": [RECT], "arc_rois": [{}]},
        profiles={"rois": [RECT, RECT], "directions": ["vertical", "horizontal"]},
    )
    streams = {s.name: s for s in legacy_streams(parameters, FRAME, ["roi1", "ring"], ["across", "along"])}
    assert list(streams) == [
        "image", "frame_index", "frame_flags", "timestamp",
        "roi1_sum", "roi1_avg", "roi1_std", "roi1_min", "roi1_max",
        "ring_sum", "ring_avg", "ring_std", "ring_min", "ring_max",
        "across", "along", "preview", "preview_index",
    ]  # fmt: skip
    assert streams["image"].shape == (1030, 514)
    assert (streams["across"].shape, streams["along"].shape) == ((20,), (30,))
    assert (streams["along"].row, streams["ring_sum"].row) == (20, 1)
    assert (streams["roi1_sum"].dtype, streams["roi1_min"].dtype) == ("float64", "float32")
    assert rows_per_frame(parameters) == {"frame_event": 1, "roi_statistics": 2, "roi_profiles": 50}


def test_the_smx_pipeline_gives_hits_background_spots_and_sparse_frames():
    parameters = SmxParameters.model_validate(
        {"fai": {"poni_path": "x.poni", "nb_bins": 30}, "statistics": {"rect_rois": [RECT]}}
    )
    streams = {s.name: s for s in pipeline_streams(parameters, FRAME, ["roi1"])}
    assert list(streams) == [
        "image", "frame_index", "frame_flags", "timestamp",
        "nb_peaks", "is_hit", "nb_sparse", "hit_rate",
        "roi1_sum", "roi1_avg", "roi1_std", "roi1_min", "roi1_max",
        "background_avg", "background_std",
        "spots_frame", "spots_y", "spots_x", "spots_intensity", "spots_sigma", "spots_size",
        "sparse_index", "sparse_intensity",
        "preview", "preview_index", "acc_peaks", "acc_corrected",
    ]  # fmt: skip
    assert streams["background_std"].shape == (30,)
    assert streams["acc_peaks"].shape == streams["preview"].shape
    assert rows_per_frame(parameters) == {"frame_event": 1, "roi_statistics": 1, "smx_frame": 1, "background": 30}
    assert row_counts(parameters) == {"spots": ("smx_frame", "nb_peaks"), "sparse": ("smx_frame", "nb_sparse")}


def test_bins_that_only_a_file_tells_have_to_be_given():
    paths = {"csr_path": "a.h5", "radius1d_path": "b.h5", "radius2d_path": "c.h5", "acc_nb_frames_xfer": 0}
    parameters = SmxParameters.model_validate({"fai": paths})
    with pytest.raises(ParameterError, match="nb_bins is missing"):
        smx_streams(parameters, FRAME)
    streams = {s.name: s for s in smx_streams(parameters, FRAME, nb_bins=77)}
    assert streams["background_avg"].shape == (77,)
    assert "acc_peaks" not in streams
    assert rows_per_frame(parameters, 77)["background"] == 77


def test_an_unknown_pipeline_is_named():
    assert pipeline_streams(processing(), FRAME)[0].name == "image"
    with pytest.raises(ParameterError, match="'LimaProcessingXpcs'"):
        pipeline_streams(SimpleNamespace(class_name="LimaProcessingXpcs"), FRAME)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.integers(1, 9), st.lists(st.integers(0, 60)))
def test_the_hit_rate_is_that_of_the_last_good_frames_however_they_come(frames, window, cuts):
    is_hit, good = np.array(frames, bool).reshape(-1, 2).T
    rate = HitRate(window)
    cuts = sorted(min(cut, len(frames)) for cut in cuts)
    parts = [rate.of(*part) for part in zip(np.split(is_hit, cuts), np.split(good, cuts), strict=True)]
    for index, value in enumerate(np.concatenate(parts)):
        last = is_hit[: index + 1][good[: index + 1]][-window:]
        np.testing.assert_allclose(value, last.mean() if len(last) else np.nan, rtol=1e-6)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 10))
def test_accumulated_images_are_summed_and_averaged_over_receivers(receivers, height, width, side):
    random = np.random.default_rng(height * width)
    shape = preview_shape(height, width, side)
    fy, fx = height // shape[0], width // shape[1]
    counts = random.integers(0, 50, (receivers, height, width)).astype(np.uint32)
    means = random.random((receivers, height, width)).astype(np.float32)
    means[random.random(means.shape) < 0.3] = np.nan
    frames = random.integers(1, 9, receivers)
    binned = [BinnedImage.of(image, shape, n) for image, n in zip(counts, frames, strict=True)]
    cut = (slice(None), slice(shape[0] * fy), slice(shape[1] * fx))
    bins = (receivers, shape[0], fy, shape[1], fx)
    np.testing.assert_array_equal(merged_sum(binned), counts[cut].reshape(bins).sum(axis=(0, 2, 4)))
    values = means[cut].astype(float)
    weights = np.where(np.isfinite(values), frames[:, None, None], 0.0)
    total = np.nan_to_num(values * weights).reshape(bins).sum(axis=(0, 2, 4))
    with np.errstate(invalid="ignore"):
        expected = total / weights.reshape(bins).sum(axis=(0, 2, 4))
    merged = merged_mean([BinnedImage.of(image, shape, n) for image, n in zip(means, frames, strict=True)])
    np.testing.assert_allclose(merged, expected, rtol=1e-5)


def test_without_rois_only_the_frame_streams_are_there():
    assert rows_per_frame(processing()) == {"frame_event": 1}
    names = [s.name for s in legacy_streams(processing(), FRAME, preview=False)]
    assert names == ["image", "frame_index", "frame_flags", "timestamp"]


def test_two_streams_with_one_name_and_a_missing_name_are_refused():
    parameters = processing(statistics={"rect_rois": [RECT, RECT]})
    with pytest.raises(ParameterError, match="roi1_avg"):
        legacy_streams(parameters, FRAME, ["roi1", "roi1"])
    with pytest.raises(ParameterError, match="1 ROI names but 2 ROIs"):
        legacy_streams(parameters, FRAME, ["roi1"])


def test_values_come_from_the_right_row_and_column():
    rows = np.zeros((4, 3), ROI_STATISTICS)
    rows["sum"] = np.arange(12).reshape(4, 3)
    rows["max"] = -rows["sum"]
    second_sum, second_max = roi_streams(["a", "b", "c"], ["sum", "max"])[2:4]
    np.testing.assert_array_equal(second_sum.values(rows), [1, 4, 7, 10])
    assert second_max.values(rows).dtype == np.float32
    np.testing.assert_array_equal(second_max.values(rows), [-1, -4, -7, -10])
    profile = profile_streams(["p", "q"], [1, 2])[1]
    np.testing.assert_array_equal(profile.values(rows), [[1, 2], [4, 5], [7, 8], [10, 11]])


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_a_preview_is_never_larger_than_its_limit_nor_empty(height, width):
    rows, columns = preview_shape(height, width)
    assert (
        1 <= max(rows, columns) <= max(PREVIEW_SIDE * 2 - 1 if max(height, width) < PREVIEW_SIDE else PREVIEW_SIDE, 1)
    )
    assert min(rows, columns) >= 1
    assert max(rows, columns) >= min(max(height, width), PREVIEW_SIDE) / 2


@pytest.mark.parametrize("shape", [(1030, 514), (1, 4096), (512, 512), (3, 700), (5000, 2)])
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4", "<f4", "<i4"])
def test_a_preview_is_the_mean_of_its_bins(shape, dtype):
    image = np.random.default_rng(1).integers(0, 120, shape).astype(dtype)
    definition = preview_streams(FrameInfo(1, *shape, np.dtype(dtype)))[0]
    preview = make_preview(image, definition.shape)
    assert preview.shape == definition.shape
    assert preview.dtype == definition.dtype
    rows, columns = preview.shape
    fy, fx = shape[0] // rows, shape[1] // columns
    cut = image[: rows * fy, : columns * fx].astype(float)
    np.testing.assert_allclose(preview, cut.reshape(rows, fy, columns, fx).mean(axis=(1, 3)), rtol=1e-5)


def job_of(**changes):
    content = {
        "uuid": "u",
        "redis_url": "redis://localhost:1",
        "receivers": [{"name": "r", "endpoint": "tcp://localhost:1"}],
        "rows_per_frame": {"frame_event": 1, "roi_statistics": 1},
        "streams": [{"definition": roi_streams(["a"])[0].model_dump(), "key": "k"}],
    }
    return PublishJob.model_validate(content | changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rows_per_frame": {"frame_event": 1}}, "beyond the 0 rows of 'roi_statistics'"),
        ({"rows_per_frame": {}}, "at least one result stream"),
        ({"rows_per_frame": {"mystery": 1}}, "unknown result streams mystery"),
        ({"streams": [{"definition": roi_streams(["a"])[0].model_dump(), "key": "k"}] * 2}, "with one key"),
        ({"saved": "receiver_files", "receivers": [{"name": "r", "endpoint": "tcp://h:1"}] * 2}, "need a master"),
        ({"row_counts": {"mystery": ["frame_event", "flags"]}}, "unknown result streams mystery"),
        ({"row_counts": {"roi_statistics": ["frame_event", "flags"]}}, "it can be in one"),
        ({"row_counts": {"spots": ["smx_frame", "nb_peaks"]}}, "'smx_frame' must be in rows_per_frame with one row"),
        ({"row_counts": {"spots": ["frame_event", "nb_peaks"]}}, "no integer column 'nb_peaks'"),
        ({"streams": [{"definition": spot_streams()[1].model_dump(), "key": "k"}]}, "how many rows of 'spots'"),
        (
            {
                "rows_per_frame": {"smx_frame": 1},
                "streams": [{"definition": hit_streams()[3].model_dump(), "key": "k"}],
            },
            "hit_rate needs 'frame_event'",
        ),
        ({"redis_url": "http://x"}, "redis_url"),
        ({"receivers": []}, "receivers"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_job_is_refused(changes, complaint):
    job_of()
    with pytest.raises(ValueError, match=complaint):
        job_of(**changes)
