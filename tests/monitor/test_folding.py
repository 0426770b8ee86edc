"""Rows of streams become charts, hits and best frames, however they are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.monitor.folding import MOST_BEST, MOST_HITS, Fold, inverse_spacing
from lima2_bliss.monitor.model import DetectorView, Geometry, ScanSummary

SCAN = ScanSummary("key", "demo", 1, "take", "", "running", 1.0, None, 0, "", ("det",))


def view():
    return DetectorView(SCAN, "det")


def cut_in(values, cuts):
    """An array in parts."""
    return np.split(values, sorted(min(cut, len(values)) for cut in cuts))


@given(st.data())
def test_hits_and_best_frames_do_not_depend_on_how_rows_come(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    peaks = rng.integers(0, 50, 200).astype(np.int32)
    hits = (peaks > 20).astype(np.uint8)
    shown = view()
    fold = Fold(shown)
    parts = {
        name: cut_in(values, data.draw(st.lists(st.integers(0, 200), min_size=4, max_size=4)))
        for name, values in (("nb_peaks", peaks), ("is_hit", hits))
    }
    for i in range(5):
        fold.take({name: parts[name][i] for name in parts})
    found = np.flatnonzero(hits)
    assert shown.hits == tuple((int(i), int(peaks[i])) for i in found[::-1])
    assert shown.newest_hit == found[-1]
    order = sorted(found, key=lambda i: (-peaks[i], i))[:MOST_BEST]
    assert shown.best == tuple((int(i), int(peaks[i])) for i in order)
    assert shown.frames == 200
    points = shown.series["nb_peaks"].points()
    np.testing.assert_array_equal(points.x, found)
    np.testing.assert_array_equal(points.y, peaks[found])


def test_lists_are_bounded():
    shown = view()
    fold = Fold(shown)
    for _ in range(3):
        fold.take({"nb_peaks": np.full(MOST_HITS, 7, np.int32), "is_hit": np.ones(MOST_HITS, np.uint8)})
    assert len(shown.hits) == MOST_HITS
    assert shown.hits[0] == (3 * MOST_HITS - 1, 7)
    assert len(shown.best) == MOST_BEST
    assert shown.best[0] == (0, 7)


def test_rate_and_age_come_from_the_frames_own_times():
    shown = view()
    fold = Fold(shown, clock=lambda: 100.5)
    times = 90 + np.arange(100) / 100
    fold.take({"timestamp": times[:50]})
    fold.take({"timestamp": times[50:]})
    assert shown.series["frame_rate"].last == pytest.approx(100)
    assert shown.series["latency"].last == pytest.approx((100.5 - times[-1]) * 1e3)
    ended = DetectorView(replace(SCAN, state="ended"), "det")
    Fold(ended).take({"timestamp": times})
    assert "latency" not in ended.series


def test_the_rate_is_steady_though_receivers_are_not_in_step():
    shown = view()
    fold = Fold(shown)
    rng = np.random.default_rng(3)
    times = 90 + np.arange(2000) / 500 + rng.uniform(0, 0.01, 2000)
    for part in np.split(times, sorted(rng.integers(0, 2000, 300))):
        fold.take({"timestamp": part})
    points = shown.series["frame_rate"].points()
    assert 450 < points.lo.min() <= points.hi.max() < 550


def test_lost_and_damaged_frames_are_alarms():
    shown = view()
    fold = Fold(shown)
    assert fold.alarms() == ()
    fold.take({"frame_flags": np.array([0, 1, 8, 2, 4, 16], np.uint32)})
    assert [(alarm.level, alarm.text) for alarm in fold.alarms()] == [
        ("bad", "2 frames lost"),
        ("warn", "2 frames incomplete or not processed"),
    ]


def test_spots_are_counted_by_their_spacing():
    where = Geometry(beam_x=0, beam_y=0, distance_m=0.1, pixel_m=1e-4, wavelength_nm=0.1)
    shown = view()
    shown.geometry = where
    fold = Fold(shown)
    fold.take({"spots_y": np.array([[100.0], [100.0], [0.0]]), "spots_x": np.array([[0.0]])})
    fold.take({"spots_x": np.array([[0.0], [300.0]])})
    bars = shown.resolution
    assert bars.counts.sum() == 3
    near, far = inverse_spacing(np.array([100.0, 0.0]), np.array([0.0, 300.0]), where)
    assert near == pytest.approx(2 * np.sin(np.arctan(0.1) / 2) / 0.1)
    assert bars.counts[np.abs(bars.x - near).argmin()] == 2
    assert bars.counts[np.abs(bars.x - far).argmin()] == 1


def test_only_useful_streams_are_read():
    names = {
        "image",
        "hit_rate",
        "nb_peaks",
        "is_hit",
        "background_avg",
        *(f"roi{i}_sum" for i in range(20)),
        "roi0_avg",
    }
    wanted = Fold.wanted(names)
    assert {"hit_rate", "nb_peaks", "is_hit"} < set(wanted)
    assert not {"image", "background_avg", "roi0_avg"} & set(wanted)
    assert len(wanted) == 3 + 8


def test_a_stream_without_its_other_half_is_not_read():
    assert Fold.wanted({"nb_peaks", "spots_x", "hit_rate"}) == ["hit_rate"]
