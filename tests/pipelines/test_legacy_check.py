"""Parameters that cannot work are refused before anything starts: one error that names every fault."""

import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo, ParameterError, RoundRobin
from lima2_receivers.pipelines.legacy import PIPELINE
from lima2_receivers.pipelines.trial import trial_setup

INFO = FrameInfo(1, 100, 200, np.dtype("u2"))
BINNED = {"binning": {"x": 2, "y": 2}}


def rectangle(x, y, width, height) -> dict:
    return {"topleft": {"x": x, "y": y}, "dimensions": {"x": width, "y": height}}


def faults(processing=None, acquisition=None, **setup) -> str:
    with pytest.raises(ParameterError) as caught:
        PIPELINE.check(trial_setup(PIPELINE, INFO, processing, acquisition, **setup))
    return caught.value.what


def test_defaults_are_accepted():
    PIPELINE.check(trial_setup(PIPELINE, INFO))


def test_a_roi_outside_the_image_is_named_with_the_limits():
    text = faults({"statistics": {"rect_rois": [rectangle(0, 0, 200, 100), rectangle(150, 0, 51, 10)]}})
    assert "statistics.rect_rois[1] = x 150, y 0, 51 x 10: not inside the image of 200 x 100 (x from 0 to 199" in text


def test_rois_are_checked_against_the_image_after_geometry():
    turned = {"img": BINNED | {"rotation": "90cw"}}
    roi = {"statistics": {"rect_rois": [rectangle(0, 60, 50, 40)]}}
    PIPELINE.check(trial_setup(PIPELINE, INFO, roi, turned))
    assert "image of 200 x 100" in faults(
        roi | {"profiles": {"rois": [rectangle(0, 0, 201, 1)], "directions": ["vertical"]}}
    )


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_a_roi_without_pixels_is_refused(width, height):
    roi = rectangle(1, 1, width, height)
    assert "profiles.rois[0]" in faults({"profiles": {"rois": [roi], "directions": ["vertical"]}})
    assert "has no pixels" in faults({"statistics": {"rect_rois": [roi]}})


def test_an_image_roi_outside_the_binned_frame_is_refused():
    image = {"binning": {"x": 2, "y": 1}, "roi": rectangle(60, 0, 50, 10)}
    assert "img.roi = x 60, y 0, 50 x 10: not inside the binned frame of 100 x 100" in faults({}, {"img": image})


def test_an_image_roi_with_a_corner_but_no_size_is_refused():
    assert "img.roi" in faults({}, {"img": {"roi": rectangle(60, 0, 0, 0)}})


def test_a_binning_larger_than_the_frame_is_refused():
    info = FrameInfo(1, 4, 200, np.dtype("u2"))
    with pytest.raises(ParameterError, match=r"img\.binning\.y = 8: the raw frame of 200 x 4 has only 4"):
        PIPELINE.check(trial_setup(PIPELINE, info, {}, {"img": {"binning": {"x": 1, "y": 8}}}))


def test_an_arc_that_misses_the_image_is_refused_and_one_that_touches_it_is_not():
    def arcs(x):
        return {"statistics": {"arc_rois": [{"center": {"x": x, "y": 50}, "r1": 0, "r2": 10}]}}

    PIPELINE.check(trial_setup(PIPELINE, INFO, arcs(-9)))
    assert "statistics.arc_rois[0] = centre x -11" in faults(arcs(-11))


def test_rois_that_are_not_enabled_are_not_checked():
    outside = {"statistics": {"enabled": False, "rect_rois": [rectangle(500, 0, 1, 1)]}}
    PIPELINE.check(trial_setup(PIPELINE, INFO, outside))


def test_frames_that_do_not_fill_the_last_sum_are_refused():
    accumulation = {"accumulation": {"enabled": True, "nb_frames": 4}}
    assert "take 8 or 12 frames" in faults(accumulation, {"acq": {"nb_frames": 10}})
    assert "take 4 frames" in faults(accumulation, {"acq": {"nb_frames": 3}})
    PIPELINE.check(trial_setup(PIPELINE, INFO, accumulation, {"acq": {"nb_frames": 12}}))
    PIPELINE.check(trial_setup(PIPELINE, INFO, accumulation, {"acq": {"nb_frames": 0}}))


def test_frames_of_one_sum_must_go_to_one_receiver():
    accumulation = {"accumulation": {"enabled": True, "nb_frames": 4}}
    acquisition = {"acq": {"nb_frames": 8}}
    assert "same receiver" in faults(accumulation, acquisition, dispatch=RoundRobin(2, 1))
    PIPELINE.check(trial_setup(PIPELINE, INFO, accumulation, acquisition, dispatch=RoundRobin(2, 4)))


def test_count_rate_protection_needs_to_know_the_exposure():
    protection = {"max_countrate_protection": {"enabled": True}}
    assert "gate" in faults(protection, {"acq": {"trigger_mode": "gate"}})
    protection["max_countrate_protection"]["pixel_capacity_override"] = [{"x": 1}]
    assert "pixel_capacity_override: not supported" in faults(protection)


def test_a_map_of_another_shape_is_refused_with_both_shapes(tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((200, 100)))
    text = faults({"mask": {"enabled": True, "path": str(tmp_path / "mask.npy")}})
    assert "(200, 100)" in text
    assert "(100, 200)" in text


def test_all_faults_come_in_one_error():
    text = faults(
        {
            "statistics": {"rect_rois": [rectangle(500, 0, 1, 1)], "arc_rois": [{"center": {"x": -99, "y": 0}}]},
            "profiles": {"rois": [rectangle(0, 99, 1, 2)], "directions": ["horizontal"]},
            "mask": {"enabled": True, "path": "/no/such/mask.h5"},
            "flatfield": {"enabled": True, "path": "/no/such/flat.npy"},
            "accumulation": {"enabled": True, "nb_frames": 3},
        },
        {"acq": {"nb_frames": 10}},
    )
    for fault in ("(6)", "rect_rois[0]", "arc_rois[0]", "profiles.rois[0]", "mask.h5", "flat.npy", "multiple"):
        assert fault in text
