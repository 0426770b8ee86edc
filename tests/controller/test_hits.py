"""What a scientist reads of hits, geometry and files after a scan with the SMX pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.client import AcquisitionStatus
from lima2_bliss.client.poni import beam_geometry
from lima2_bliss.client.status import ReceiverStatus
from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.records import SMX_FRAME
from lima2_bliss.contract.wire import PipelineStatus, SourceStatus
from lima2_bliss.controller.hits import HitSummary, hit_summary
from lima2_bliss.controller.metadata import detector_metadata, outcome_metadata
from lima2_bliss.controller.outcome import Outcome, count_lines
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.controller.smx_report import correction_words, geometry_words, hit_words, selection_words, smx_lines
from lima2_bliss.controller.smx_settings import SmxSettings

FRAME = FrameInfo(1, 100, 200, np.dtype("uint16"))
PONI = """\
# Detector calibration file
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 1e-04, "orientation": 3}
Distance: 0.1
Poni1: 0.02
Poni2: 0.03
Rot1: 0.1
Rot2: -0.2
Rot3: 0.3
Wavelength: 1e-10
"""


def status(vetoed: int = 0, saved: int = 10) -> AcquisitionStatus:
    info = FRAME.to_json()
    sources = {
        "frame": SourceStatus(frame_info=info, saved=saved, vetoed=vetoed),
        "sparse_frame": SourceStatus(frame_info=info | {"nb_bins": 50}, saved=saved),
    }
    receiver = ReceiverStatus("r", 0, PipelineStatus(uuid="u", frame_info=info, sources=sources))
    return AcquisitionStatus("u", (receiver,), 10, 10, saved, saved, lost=1, invalid=1, overrun=0, vetoed=vetoed)


class Finished:
    """An acquisition that has ended: ten frames, one of them lost."""

    frame_info = FRAME

    def __init__(self, has_hits: bool = True) -> None:
        self.has_hits = has_hits

    def status(self) -> AcquisitionStatus:
        return status() if self.has_hits else AcquisitionStatus("u", (_legacy_receiver(),), 1, 1, 1, 1, 0, 0, 0)

    def results(self, stream: str) -> np.ndarray:
        assert stream == "smx_frame"
        rows = np.zeros(10, SMX_FRAME)
        rows["is_hit"][[1, 4, 7]] = 1
        rows["nb_peaks"] = [2, 20, 0, 0, 30, 1, 0, 40, 0, 0]
        rows["nb_sparse"] = 100
        rows["nb_sparse"][9] = 0
        return rows


def _legacy_receiver() -> ReceiverStatus:
    sources = {"frame": SourceStatus(frame_info=FRAME.to_json())}
    return ReceiverStatus("r", 0, PipelineStatus(uuid="u", frame_info=FRAME.to_json(), sources=sources))


def test_hits_are_summed_up_over_the_frames_that_came():
    summary = hit_summary(Finished())
    assert summary == HitSummary(frames=9, hits=3, spots=90, pixels=900, frame=FRAME, nb_bins=50)
    assert (summary.hit_rate, summary.spots_per_hit) == (pytest.approx(1 / 3), 30)
    assert summary.pixels_kept == pytest.approx(900 / (9 * 20_000))
    # each pixel takes its place (4 bytes) and its value (2), each frame 50 bins of two float32
    assert summary.reduction == pytest.approx(9 * 40_000 / (900 * 6 + 9 * 400))


def test_a_pipeline_that_looks_for_no_hits_has_no_sums():
    assert hit_summary(Finished(has_hits=False)) is None


def test_an_acquisition_without_frames_reads_as_nothing():
    empty = HitSummary(0, 0, 0, 0, FRAME, 50)
    assert (empty.hit_rate, empty.spots_per_hit, empty.reduction, empty.pixels_kept) == (0, 0, 0, 0)
    assert list(empty.lines()) == []


def test_the_report_tells_hits_holes_and_all_files():
    files = {"frame": Path("/d/run_frame_master.h5"), "sparse_frame": Path("/d/run_sparse_frame_master.h5")}
    outcome = Outcome("u", 10, status(vetoed=6), files, hits=HitSummary(9, 3, 90, 900, FRAME, 50))
    assert count_lines(outcome) == [
        "10 images processed of 10, 4 saved, 1 frames lost, 1 frames invalid",
        "not to be saved: 6 of frame",
        "3 hits (33.3%), 30.0 spots per hit",
        "sparse frames 40.0 times smaller (0.50% of the pixels kept)",
        "file of frame:        /d/run_frame_master.h5",
        "file of sparse_frame: /d/run_sparse_frame_master.h5",
    ]


def test_the_scan_file_tells_hits_and_files():
    outcome = Outcome(
        "u", 10, status(vetoed=6), {"acc_peaks": Path("/d/p.h5")}, hits=HitSummary(9, 3, 90, 900, FRAME, 50)
    )
    fields = outcome_metadata(outcome, ScanRequest(10, 0.1, "internal"))
    assert (fields["hits"], fields["spots_in_hits"], fields["images_saved"]) == (3, 90, 4)
    assert fields["files"]["acc_peaks"] == "/d/p.h5"


# --- geometry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rot1", "rot2", "rot3"), [(0, 0, 0), (0.1, -0.2, 0.3), (-0.4, 0.05, 0), (0, 0.3, 1)])
def test_beam_centre_and_distance_are_those_of_pyfai(tmp_path, rot1, rot2, rot3):
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    integrator = AzimuthalIntegrator(
        dist=0.12, poni1=0.02, poni2=0.03, rot1=rot1, rot2=rot2, rot3=rot3, pixel1=75e-6, pixel2=1e-4
    )
    path = tmp_path / "a.poni"
    integrator.save(str(path))
    beam, wanted = beam_geometry(str(path)), integrator.getFit2D()
    assert beam is not None
    assert beam.distance_m == pytest.approx(wanted["directDist"] / 1000)
    assert (beam.beam_x_px, beam.beam_y_px) == pytest.approx((wanted["centerX"], wanted["centerY"]))
    assert beam.wavelength_m is None


def test_the_newest_calibration_of_a_poni_file_counts(tmp_path):
    path = tmp_path / "a.poni"
    path.write_text(PONI + PONI.replace("Distance: 0.1", "Distance: 0.2").replace("Rot1: 0.1", "Rot1: 0"))
    beam = beam_geometry(str(path))
    assert beam is not None
    assert beam.distance_m == pytest.approx(0.2 / np.cos(0.2))
    assert beam.wavelength_m == 1e-10


def test_a_named_detector_has_the_pixel_size_that_is_known_of_it(tmp_path):
    path = tmp_path / "a.poni"
    path.write_text("poni_version: 2\nDetector: Eiger\nDetector_config: {}\nDistance: 1\nPoni1: 0.1\nPoni2: 0.2\n")
    assert beam_geometry(str(path)).beam_x_px is None
    known = beam_geometry(str(path), (1e-3, 2e-3))
    assert (known.beam_x_px, known.beam_y_px) == pytest.approx((200, 50))


@pytest.mark.parametrize("content", [None, "", "Distance: far\nPoni1: 0\nPoni2: 0\n", "Detector_config: [\n", "\x00"])
def test_a_poni_file_that_cannot_be_read_here_is_left_to_the_receivers(tmp_path, content):
    path = tmp_path / "a.poni"
    if content is not None:
        path.write_text(content)
    assert beam_geometry(str(path)) is None


# --- words ------------------------------------------------------------------------------------------------------------


def test_settings_read_as_sentences(tmp_path):
    path = tmp_path / "a.poni"
    path.write_text(PONI.replace("Rot1: 0.1", "Rot1: 0").replace("Rot2: -0.2", "Rot2: 0"))
    smx = SmxSettings(poni=str(path), bins=400, radius_range=(0.01, 0), mask="/m.npy", polarization=0.9)
    assert (
        geometry_words(smx) == f"{path}, 400 bins of r_m, radius from 0.01, distance 0.1 m, beam at x=299.5 y=266.2 px"
    )
    assert correction_words(smx) == "mask /m.npy; polarization 0.9"
    assert hit_words(smx) == "spots of >= 3 pixels above 5 deviations in 5 x 5; >= 10 spots are a hit"
    assert len(smx_lines(smx)) == 5


def test_no_geometry_is_told_with_what_to_do():
    assert "set .smx.poni" in geometry_words(SmxSettings())
    assert geometry_words(SmxSettings(arrays={"csr": "/g.h5", "radius1d": "/g.h5"})) == "arrays of /g.h5"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "full frames: all; sparse frames: all; mean and peak images"),
        (
            {
                "save_dense": "hits",
                "keep_after": 2,
                "dense_every": 100,
                "save_sparse": "none",
                "save_accumulated": False,
            },
            "full frames: hits and 2 after and each 100th; sparse frames: none",
        ),
        (
            {"save_dense": "every_nth", "dense_every": 10, "accumulated_every": 0},
            "full frames: each 10th; sparse frames: all",
        ),
    ],
)
def test_what_is_saved_reads_as_a_sentence(settings, words):
    assert selection_words(SmxSettings(**settings)) == words


def test_the_scan_file_has_thresholds_and_beam(tmp_path):
    path = tmp_path / "a.poni"
    path.write_text(PONI)
    state = DetectorState(
        AcquisitionSettings(),
        ImageSettings(),
        ProcessingSettings(pipeline="smx"),
        SavingSettings(),
        SmxSettings(poni=str(path), min_spots=12),
    )
    metadata = detector_metadata(state, {"pixel_size": {"x": 75e-6, "y": 75e-6}}, (100, 200), {})
    assert metadata["processing"]["pipeline"] == "smx"
    assert metadata["hit_finding"]["min_spots"] == 12
    assert metadata["hit_finding"]["wavelength"] == 1e-10
    assert metadata["distance"] == pytest.approx(0.1 / (np.cos(0.1) * np.cos(0.2)))
    assert metadata["beam_center_x@units"] == "pixel"
    json.dumps(metadata)
