"""What a scientist reads after typing the detector's name."""

from __future__ import annotations

from pathlib import Path

from lima2_bliss.client.status import AcquisitionStatus, ReceiverStatus
from lima2_bliss.contract.wire import PipelineStatus
from lima2_bliss.controller.metadata import detector_model, outcome_metadata
from lima2_bliss.controller.outcome import Outcome, count_lines
from lima2_bliss.controller.report import image_words, processing_words, saving_words, step_words
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)


def test_untouched_settings_read_as_plain_sentences():
    assert image_words(ImageSettings()) == "the full frame as it is"
    assert processing_words(ProcessingSettings()) == "no mask, dark or flat field, no accumulation"
    assert step_words(AcquisitionSettings()) == "1 image per point, software trigger, dead time 10 us"
    assert saving_words(SavingSettings(enabled=False)) == "off (no images are saved)"


def test_geometry_is_told_in_the_order_in_which_it_is_applied():
    image = ImageSettings(binning=(2, 1), roi=(2, 1, 16, 10), flip="up_down", rotation="180")
    assert image_words(image) == (
        "binned 2 x 1, then cut to x=2 y=1 width=16 height=10, then flipped up-down, then rotated by 180 degrees"
    )


def test_corrections_are_named_with_their_files():
    words = processing_words(ProcessingSettings(background="/dark.h5", accumulation=3, max_countrate=1e6))
    assert words == "dark /dark.h5; 3 exposures summed into each image; scan ends above 1e+06 counts/s in a pixel"


def test_a_model_called_like_its_plugin_is_named_once():
    assert detector_model({"plugin": "Simulator", "model": "Simulator"}) == "Simulator"
    assert detector_model({"plugin": "Jungfrau", "model": "4M"}) == "Jungfrau 4M"
    assert detector_model({}) == "unknown"


def test_the_last_acquisition_says_what_was_lost_and_what_can_be_read():
    status = AcquisitionStatus("u", (), received=9, processed=9, saved=8, readable=6, lost=1, invalid=0, overrun=0)
    lines = count_lines(Outcome("u", 10, status, {"frame": Path("/data/master.h5")}, "disk full"))
    assert lines == ["9 images processed of 10, 6 saved, 1 frames lost", "file: /data/master.h5", "error: disk full"]
    assert count_lines(Outcome()) == ["none"]


def test_packets_are_told_with_what_is_odd_about_them():
    intake = {"packets_received": 1279, "packets_placed": 1276, "packets_late": 0, "packets_foreign": 3}
    intake |= {"packets_dropped_by_kernel": 1, "packets_missing": 4, "frames_incomplete": 2}
    pipeline = PipelineStatus(uuid="u", intake=intake, warnings=["UDP port 50001 gets other packets"])
    receivers = tuple(ReceiverStatus(f"r{rank}", rank, pipeline) for rank in range(2))
    status = AcquisitionStatus("u", receivers, 20, 18, 18, 18, 0, 2, 0)
    lines = count_lines(Outcome("u", 20, status))
    assert lines[1:] == [
        "packets: 2558 received, 6 foreign, 2 dropped by kernel, 8 missing",
        "warning: receiver r0: UDP port 50001 gets other packets",
        "warning: receiver r1: UDP port 50001 gets other packets",
    ]
    assert outcome_metadata(Outcome("u", 20, status), ScanRequest(20, 0.1, "software"))["reception"] == {
        "@NX_class": "NXcollection",
        **{name: 2 * count for name, count in intake.items()},
    }


def test_raw_frames_that_are_saved_are_told():
    assert saving_words(SavingSettings(raw="hits")).endswith("50 images per file, also the raw frames of hits")
    assert saving_words(SavingSettings()).endswith("50 images per file")
