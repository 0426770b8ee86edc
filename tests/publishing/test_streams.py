"""Stream definitions of the legacy pipeline, and the values they take from result rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import LegacyParameters
from lima2_bliss.contract.records import ROI_STATISTICS
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.preview import PREVIEW_SIDE, make_preview, preview_shape
from lima2_bliss.publishing.streams import (
    legacy_streams,
    preview_streams,
    profile_streams,
    roi_streams,
    rows_per_frame,
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
        ({"redis_url": "http://x"}, "redis_url"),
        ({"receivers": []}, "receivers"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_job_is_refused(changes, complaint):
    job_of()
    with pytest.raises(ValueError, match=complaint):
        job_of(**changes)
