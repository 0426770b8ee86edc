"""The numbers of a report are those of the finder, frame by frame."""

import json

import numpy as np
import pytest

from lima2_bliss.contract import FrameFlags, FrameInfo, ParameterError
from lima2_receivers.pipelines.smx.build import make_smx_finder
from lima2_receivers.pipelines.smx.tables import load_tables
from lima2_receivers.tuning import FrameStack, tune
from lima2_receivers.tuning import measure as measuring


def found_by_hand(crystal, processing, indices):
    tables = load_tables(processing.fai, FrameInfo(1, *crystal.frames.shape[1:], crystal.frames.dtype))
    finder = make_smx_finder(processing, tables, crystal.frames.dtype)
    results = [finder(crystal.frames[index]) for index in indices]
    finder.close()
    return np.array([len(r.spots) for r in results]), np.array([len(r.index) for r in results])


def test_a_row_says_what_the_finder_finds(crystal):
    processing = crystal.processing(peaks={"min_spots": 5})
    report = tune(crystal.frames, processing, {"cutoff_peak": [4, 6]}, truth=crystal.hits)
    for row in report.rows:
        peaks = {"min_spots": 5, "cutoff_peak": row.values["peaks.cutoff_peak"]}
        spots, pixels = found_by_hand(crystal, crystal.processing(peaks=peaks), range(12))
        hit = spots >= 5
        assert (row.hits, row.hit_rate) == (hit.sum(), hit.mean())
        assert row.spots_per_hit == np.median(spots[hit])
        assert row.spots_per_other == spots[~hit].mean()
        assert row.pixels_per_frame == pixels.mean()
        assert row.reduction == pytest.approx(256 * 256 * 2 / (6 * pixels + 8 * 100).mean())
        assert row.sensitivity == hit[crystal.hits].mean()
        assert row.false_hits == (hit & ~crystal.hits).sum()
        assert row.ms_per_frame > 0
        assert row.backend == "reference"
    assert report.true_hits == 6
    assert report.rows[0].spots_per_hit > report.rows[1].spots_per_hit


def test_the_settings_with_the_fewest_wrong_frames_are_the_best(crystal):
    spots, _ = found_by_hand(crystal, crystal.processing(), range(12))
    too_many = int(spots.max()) + 1
    report = tune(crystal.frames, crystal.processing(), {"min_spots": [10, too_many, 1]}, truth=crystal.hits)
    wrong = [row.false_hits + row.missed_hits for row in report.rows]
    assert wrong[0] == 0
    assert wrong[1] == 6
    assert report.rows[0] in report.best
    assert report.rows[1] not in report.best
    assert {id(row) for row in report.best} == {id(r) for r, n in zip(report.rows, wrong, strict=True) if n == 0}


def counting(monkeypatch):
    made = []
    monkeypatch.setattr(measuring, "make_smx_finder", lambda *given: made.append(given) or make_smx_finder(*given))
    return made


def test_settings_that_differ_in_min_spots_alone_are_computed_once(crystal, monkeypatch):
    made = counting(monkeypatch)
    told = []
    report = tune(
        crystal.frames, crystal.processing(), {"min_spots": [1, 10, 1000], "cutoff_pick": [3, 4]}, max_frames=2,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert len(made) == 2
    assert told == [(done, 6) for done in range(7)]
    assert [tuple(row.values.values()) for row in report.rows] == [(n, c) for n in (1, 10, 1000) for c in (3, 4)]
    assert report.rows[0].hits == 2 or report.rows[0].hits == report.rows[1].hits
    assert report.rows[4].hits == 0
    assert np.isnan(report.rows[4].spots_per_hit)


def test_frames_that_do_not_fit_into_memory_are_read_again(crystal, monkeypatch):
    grid = {"cutoff_peak": [4, 6]}
    kept = tune(crystal.frames, crystal.processing(), grid)
    monkeypatch.setattr(measuring, "BATCH_BYTES", 1)
    again = tune(crystal.frames, crystal.processing(), grid, cache_bytes=0, cores=2)
    for one, other in zip(kept.rows, again.rows, strict=True):
        assert (one.hits, one.spots_per_hit, one.pixels_per_frame) == (
            other.hits,
            other.spots_per_hit,
            other.pixels_per_frame,
        )


def test_only_good_frames_of_the_asked_range_are_used(crystal):
    flags = np.zeros(12, np.uint32)
    flags[[0, 4]] = FrameFlags.VETOED
    flags[8] = FrameFlags.LOST | FrameFlags.OVERRUN
    flags[1] = FrameFlags.LOST  # outside of what is asked
    stack = FrameStack("stack", crystal.frames, flags)
    report = tune(stack, crystal.processing(), {}, first=0, stop=11, every=2)
    assert (report.nb_frames, report.nb_in_source) == (3, 12)
    assert report.left_out == {"VETOED": 2, "LOST": 1, "OVERRUN": 1}
    spots, _ = found_by_hand(crystal, crystal.processing(), [2, 6, 10])
    assert report.rows[0].hits == (spots >= 10).sum()
    assert "3 of 12 frames (left out: 2 vetoed, 1 lost, 1 overrun)" in report.table()


def test_of_too_many_frames_an_even_spread_is_used(crystal):
    report = tune(crystal.frames, crystal.processing(), {}, max_frames=3, truth=np.arange(12) % 2)
    assert report.nb_frames == 3
    assert report.true_hits == [0, 6, 11].count(11)  # round(5.5) is 6


def test_frames_that_none_can_use_are_an_error(crystal):
    stack = FrameStack("stack", crystal.frames, np.full(12, FrameFlags.VETOED, np.uint32))
    with pytest.raises(ParameterError, match=r"no frame to try .* all of them are bad: {'VETOED': 12}"):
        tune(stack, crystal.processing(), {})
    with pytest.raises(ParameterError, match="no frame to try among 12::1 of 12"):
        tune(crystal.frames, crystal.processing(), {}, first=12)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"every": 0}, "every = 0: at least 1"),
        ({"first": -1}, "first = -1"),
        ({"max_frames": 0}, "max_frames = 0"),
        ({"truth": [True] * 11}, "one value for each"),
        ({"truth": [2] * 12}, "neither 0 nor 1"),
        ({"truth": ["yes"] * 12}, "neither 0 nor 1"),
        ({"grid": {"radius_min": [0, 99]}}, "radius_min = 99.*no pixel lies in it"),
        ({"grid": {"mask_path": ["/nowhere/a.npy", "/nowhere/b.npy"]}}, "a.npy.*b.npy"),
        ({"grid": {"error_model": ["poisson", "variance"]}}, "needs fai.variance_path"),
    ],
)
def test_faults_are_found_before_anything_runs(crystal, monkeypatch, more, said):
    made = counting(monkeypatch)
    grid = more.pop("grid", {})
    with pytest.raises(ParameterError, match=said):
        tune(crystal.frames, crystal.processing(), grid, **more)
    assert made == []


def test_the_report_reads_as_table_and_as_json(crystal):
    processing = crystal.processing(peaks={"cutoff_peak": 5.5, "max_spots": 20})
    report = tune(crystal.frames, processing, {"cutoff_peak": [3, 5.5], "min_spots": [20]}, truth=crystal.hits)
    head, now, titles, *lines = report.table().splitlines()
    assert head == f"frames: 12 of 12 frames, 256 x 256 uint16; reference on {report.cores} cores"
    assert now == "now: peaks.cutoff_peak = 5.5, peaks.min_spots = 10"
    assert titles.split()[:4] == ["cutoff_peak", "min_spots", "hits", "hit"]
    assert [line.split()[:2] for line in lines[:2]] == [["3", "20"], ["5.5", "20"]]
    assert lines[0].endswith("*")
    assert "frames had more spots than max_spots" in lines[2]
    assert lines[3].startswith("truth: 6 hits")
    content = json.loads(report.to_json())
    assert [row["values"]["peaks.cutoff_peak"] for row in content["rows"]] == [3, 5.5]
    assert content["rows"][0]["hits"] == report.rows[0].hits
    assert content["true_hits"] == 6


def test_numbers_that_do_not_exist_are_null(crystal):
    report = tune(crystal.frames, crystal.processing(peaks={"min_spots": 2000}), {}, max_frames=2)
    assert json.loads(report.to_json())["rows"][0]["spots_per_hit"] is None
    assert " - " in report.table()
