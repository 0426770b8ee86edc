"""Pictures of a scan's frames, straight from receivers: the right ones, each fetched once, few kept."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_bliss.contract import NotAvailableError, NotYetAvailableError
from lima2_bliss.monitor import collector as collector_module
from lima2_bliss.monitor import watching as watching_module
from lima2_bliss.monitor.messages import ShowImage, ShowRegion
from lima2_bliss.monitor.scans import summary_of
from lima2_bliss.monitor.watching import WatchedDetector


@pytest.fixture
def watched(make_setup, smx, opener, until, monkeypatch):
    """Gives (a watched detector, what feeds frames to it); ``feed`` returns when the view knows them."""
    monkeypatch.setattr(collector_module, "READ_S", 0.02)
    monkeypatch.setattr(collector_module, "LOOK_S", 0.02)
    monkeypatch.setattr(watching_module, "_NEWEST_S", 0.0)
    setup = make_setup(2, smx=smx())
    publication = setup.publish()
    opened = opener(setup)
    one = WatchedDetector(opened, summary_of(opened()), "det")

    def feed(frames):
        for receiver in setup.receivers:
            feeder = receiver.feeder
            feeder.feed(feeder.dispatch.count(feeder.rank, frames) - feeder.log.frames)
        publication.wait(frames, 10)
        until(lambda: one.view.frames == frames == len(one._data.stream("image")), "the view knows the frames")

    yield one, feed
    one.close()


@pytest.fixture
def fetched(monkeypatch):
    """Frames that were asked of receivers."""
    seen = []
    frames_at = watching_module.DetectorData.frames_at

    def noted(self, indices, *options):
        seen.extend(indices)
        return frames_at(self, indices, *options)

    monkeypatch.setattr(watching_module.DetectorData, "frames_at", noted)
    return seen


def pixels_of(index):
    """As the receivers of the tests make them."""
    ramp = np.arange(24 * 40).reshape(24, 40)
    return ((ramp * 7 + index * 131) % 60000).astype(np.uint16)


def test_the_newest_frame_the_newest_hit_and_any_frame(watched, until):
    one, feed = watched
    assert one.picture(ShowImage()) is None
    feed(10)
    until(lambda: len(one.view.series.get("nb_peaks", ())) == 10, "the hits are known")
    newest, hit, third = (
        one.picture(ShowImage(**wanted)) for wanted in ({}, {"mode": "hits"}, {"mode": "frame", "index": 3})
    )
    for picture, index in ((newest, 9), (hit, one.view.newest_hit), (third, 3)):
        assert (picture.index, picture.where, picture.full_shape) == (index, "memory", (24, 40))
        np.testing.assert_array_equal(picture.data, pixels_of(index))
        np.testing.assert_array_equal(picture.spots, one.spots(index)[["y", "x", "intensity"]].tolist())
        assert picture.taken is not None
    assert len(third.spots) == 3 * 7 % 4
    with pytest.raises(NotYetAvailableError, match="the scan has 10 so far"):
        one.picture(ShowImage(mode="frame", index=10))
    region = one.region(ShowRegion(index=3, y0=2, x0=5, y1=20, x1=30))
    assert region.origin == (2, 5)
    np.testing.assert_array_equal(region.data, pixels_of(3)[2:20, 5:30])


def test_a_frame_is_fetched_once_for_all_sizes_and_regions(watched, fetched):
    one, feed = watched
    feed(4)
    for size in (64, 128, 1024):
        for _ in range(3):
            assert one.picture(ShowImage(max_px=size)).index == 3
    one.region(ShowRegion(index=3, y0=0, x0=0, y1=9, x1=9))
    assert fetched == [3]
    picture = one.picture(ShowImage())
    assert one.picture(ShowImage()) is picture  # nothing new, nothing made
    feed(5)
    assert one.picture(ShowImage()).index == 4
    assert fetched == [3, 4]


def test_what_is_kept_is_bounded(watched, monkeypatch):
    one, feed = watched
    nbytes = pixels_of(0).nbytes
    monkeypatch.setattr(watching_module, "CACHE_BYTES", 3 * nbytes)
    for frames in range(1, 13):
        feed(frames)
        one.picture(ShowImage(max_px=64 + frames))
    assert sum(pixels.nbytes for pixels, _ in one._frames.values()) <= 3 * nbytes
    assert len(one._made) <= watching_module._MOST_MADE


def test_an_accumulated_picture_that_is_not_there_yet_or_never(watched, fetched, monkeypatch):
    one, feed = watched
    feed(2)
    assert one.picture(ShowImage(source="acc_peaks")) is None
    monkeypatch.delitem(one._data._streams, "acc_peaks")
    with pytest.raises(NotAvailableError, match="comes with pipeline smx"):
        one.picture(ShowImage(source="acc_peaks"))
    assert fetched == []
