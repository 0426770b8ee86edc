"""Counters follow the pipeline, and what is only for readers of Redis stays out of files and displays."""

from __future__ import annotations

import numpy as np
import pytest
from bliss.controllers.counter import CounterController
from blissdata.redis_engine.encoding.numeric import NumericStreamDecoder

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import Fai, SmxParameters
from lima2_bliss.controller.channels import LiveChannel, PublishedImageChannel, UnseenChannel, make_channel
from lima2_bliss.controller.counters import check_free, counter_groups, make_counters
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.rois import ProfileRoi, RectRoi
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.controller.smx_settings import SmxSettings
from lima2_bliss.publishing.encoders import encoder_of
from lima2_bliss.publishing.streams import smx_streams

FRAME = FrameInfo(1, 100, 200, np.dtype("uint16"))


def state(pipeline="smx", **smx):
    return DetectorState(
        AcquisitionSettings(),
        ImageSettings(),
        ProcessingSettings(pipeline=pipeline),
        SavingSettings(),
        SmxSettings(**smx),
        rois={"box": RectRoi(0, 0, 4, 4)},
        profiles={"line": ProfileRoi(0, 0, 4, 4)},
    )


def counters_of(settings):
    return make_counters(CounterController("det", register_counters=False), settings)


@pytest.fixture
def counters():
    return counters_of(state())


def names(space) -> list[str]:
    return [counter.name for counter in space]


def test_smx_gives_hits_spots_and_background_beside_the_regions(counters):
    groups = counter_groups(counters, ["box"])
    assert names(groups.smx) == ["hit_rate", "nb_peaks", "is_hit", "nb_sparse"]
    assert names(groups.background) == ["background_avg", "background_std"]
    assert names(groups.accumulated) == ["acc_peaks", "acc_corrected"]
    assert names(groups.spots)[:3] == ["spots_frame", "spots_y", "spots_x"]
    assert names(groups.sparse) == ["sparse_index", "sparse_intensity"]
    assert names(groups.box)[:2] == ["box_sum", "box_avg"]
    wanted = {"image", "line", "background_avg", "spots_x", "acc_peaks", "preview", "frame_index"}
    assert wanted <= set(names(groups.default))
    assert "timestamp" not in names(groups.default)


def test_the_first_number_that_displays_show_is_the_hit_rate(counters):
    numbers = [counter.name for counter in counters.values() if counter.shape == ()]
    assert numbers[0] == "hit_rate"


def test_legacy_gives_none_of_it():
    counters = counters_of(state("legacy"))
    assert not {"hit_rate", "background_avg", "spots_x", "acc_peaks"} & set(counters)
    groups = counter_groups(counters, ["box"])
    assert "smx" not in dir(groups)
    assert not {"frame_index", "timestamp"} & set(names(groups.default))


def test_without_mean_and_peak_images_there_are_no_counters_of_them():
    assert "acc_peaks" not in counters_of(state(accumulated_every=0))


def test_a_scan_has_a_stream_for_each_counter(counters):
    streams = smx_streams(SmxParameters(fai=Fai(poni_path="/a.poni")), FRAME)
    wanted = {stream.name for stream in streams} - {"preview_index"}
    assert set(counters) == wanted | {f"box_{what}" for what in ("sum", "avg", "std", "min", "max")} | {"line"}


@pytest.mark.parametrize(
    "name", ["hit_rate", "spots_x", "sparse_index", "acc_peaks", "background_avg", "preview_index"]
)
def test_a_profile_cannot_take_the_name_of_a_stream_of_any_pipeline(name):
    with pytest.raises(ParameterError, match="choose another name"):
        check_free(name, [], [], is_profile=True)


@pytest.mark.parametrize(
    ("name", "echoed", "hidden"),
    [
        ("hit_rate", True, None),
        ("nb_peaks", True, None),
        ("background_avg", True, None),
        ("background_std", False, True),
        ("spots_x", False, True),
        ("sparse_intensity", False, True),
        ("acc_peaks", False, None),
        ("acc_corrected", False, True),
        ("preview", False, True),
    ],
)
def test_only_what_has_one_value_per_frame_reaches_file_and_displays(counters, name, echoed, hidden):
    channel = make_channel(f"det:{name}", counters[name])
    assert (channel.echoed, channel.file_only, channel.counter_name) == (echoed, hidden, name)
    if not echoed:
        assert channel.scan_info_dict["group"] == counters[name].group


def test_images_are_references_and_peak_images_are_shown(counters):
    assert isinstance(make_channel("det:image", counters["image"]), PublishedImageChannel)
    peaks = make_channel("det:acc_peaks", counters["acc_peaks"])
    assert isinstance(peaks, LiveChannel)
    assert peaks.scan_info_dict["dim"] == 2


def test_flat_streams_are_no_scalars_to_displays_and_read_as_they_were_written(counters):
    definitions = {stream.name: stream for stream in smx_streams(SmxParameters(fai=Fai(poni_path="/a.poni")), FRAME)}
    channel = make_channel("det:spots_x", counters["spots_x"])
    assert isinstance(channel, UnseenChannel)
    channel.define(definitions["spots_x"])
    assert channel.definition == definitions["spots_x"]
    assert channel.scan_info_dict["dim"] == 1
    assert channel.encoder.info()["shape"] == (1,)
    written = np.array([1.5, 2.5, 3.5], np.float32)
    batch = encoder_of(channel.definition).encode(written)
    read = NumericStreamDecoder(channel.encoder.info()).decode(batch)
    assert (batch.len, read.shape) == (3, (3, 1))
    np.testing.assert_array_equal(read.reshape(-1), written)
