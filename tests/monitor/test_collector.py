"""A detector's streams become its view: from the beginning, late, and while Redis is away."""

from __future__ import annotations

import contextlib
import signal

import numpy as np
import pytest
import redis
from blissdata.redis_engine.store import DataStore

from lima2_bliss.monitor import collector as collector_module
from lima2_bliss.monitor.collector import Collector
from lima2_bliss.monitor.scans import summary_of


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(collector_module, "READ_S", 0.02)
    monkeypatch.setattr(collector_module, "LOOK_S", 0.02)
    monkeypatch.setattr(collector_module, "_AGAIN_S", 0.05)


@pytest.fixture
def collect(opener):
    """Follows detector ``det`` of a scan as another process would."""
    made = []

    def collecting(setup, **limits):
        opened = opener(setup, **limits)
        collector = Collector(opened, summary_of(opened()), "det")
        made.append(collector)
        collector.start()
        return collector

    yield collecting
    for collector in made:
        collector.stop()


def fed(setup, publication, frames):
    """All receivers have ``frames`` in all, and they are published."""
    for receiver in setup.receivers:
        feeder = receiver.feeder
        feeder.feed(feeder.dispatch.count(feeder.rank, frames) - feeder.log.frames)
    publication.wait(frames, 10)


def ended(setup, publication, frames):
    """The scan has ended as a good one does."""
    for receiver in setup.receivers:
        receiver.feeder.end()
    publication.finish()
    assert publication.wait_end(10).rows == frames
    setup.scan.close()


def check(view, rows, frames):
    """The view shows all frames as they were published."""
    peaks = np.array([rows.counts(index)[0] for index in range(frames)])
    hits = [index for index in range(frames) if rows.is_hit(index)]
    assert view.frames == frames
    assert view.hits == tuple((index, peaks[index]) for index in reversed(hits))
    assert view.newest_hit == hits[-1]
    assert view.best[0] == (hits[int(np.argmax(peaks[hits]))], peaks.max())
    points = view.series["nb_peaks"].points(10_000)
    np.testing.assert_array_equal(points.x, hits)
    np.testing.assert_array_equal(points.y, peaks[hits])
    assert len(view.times) == frames


def test_a_running_scan_is_followed_to_its_end(make_setup, smx, collect, until):
    rows = smx()
    setup = make_setup(2, smx=rows)
    publication = setup.publish()
    collector = collect(setup)
    for frames in (10, 11, 40):
        fed(setup, publication, frames)
        until(lambda frames=frames: collector.view.frames == frames, "the view knows the newest frames")
    until(lambda: collector.view.counts and sum(row[1] for row in collector.view.counts.rows) == 40, "live counts")
    ended(setup, publication, 40)
    until(lambda: not collector._thread.is_alive(), "it ends with the scan")
    check(collector.view, rows, 40)
    assert collector.view.scan.state == "ended"
    assert collector.view.alarms == ()
    curve = collector.view.background
    np.testing.assert_allclose(curve.y, 39 + np.arange(5) / 2)
    np.testing.assert_allclose(curve.hi - curve.y, 39 / 4)


def test_a_scan_that_is_over_is_read_from_its_beginning(make_setup, smx, collect, until):
    rows = smx()
    setup = make_setup(1, smx=rows)
    publication = setup.publish()
    fed(setup, publication, 300)
    ended(setup, publication, 300)
    collector = collect(setup)
    until(lambda: not collector._thread.is_alive(), "it ends by itself")
    check(collector.view, rows, 300)
    assert "latency" not in collector.view.series


def test_nothing_is_told_twice(make_setup, smx, collect, until):
    setup = make_setup(1, smx=smx())
    publication = setup.publish()
    fed(setup, publication, 5)
    collector = collect(setup)
    until(lambda: collector.view.background is not None, "the background")
    before, revision = collector.view.background, collector.view.revision
    until(lambda: collector.view.revision > revision + 3, "it was looked again")
    assert collector.view.background is before
    assert len(collector.view.series["background_level"]) == 5


def test_rows_that_have_left_redis_are_left_out(make_setup, smx, collect, until):
    rows = smx()
    setup = make_setup(1, smx=rows)
    publication = setup.publish()
    for frames in (30, 60):
        fed(setup, publication, frames)
    with contextlib.closing(redis.Redis.from_url(setup.url)) as client:
        for name in ("nb_peaks", "is_hit"):
            client.xtrim(setup.reader().streams[f"det:{name}"].key, maxlen=1, approximate=False)
    collector = collect(setup)
    until(lambda: collector.view.frames == 60, "the frames that are there")
    found = [index for index, _ in collector.view.hits]
    assert found
    assert all(rows.is_hit(index) for index in found)
    assert len(found) < sum(rows.is_hit(index) for index in range(60))
    assert collector.view.alarms == ()


def test_redis_that_hangs_is_told_and_nothing_is_lost_or_doubled(make_setup, make_redis, smx, collect, until):
    rows = smx()
    setup = make_setup(1, smx=rows, server=make_redis())
    publication = setup.publish()
    fed(setup, publication, 20)
    collector = collect(setup, socket_timeout=0.2)
    until(lambda: collector.view.frames == 20, "the first frames")
    setup.server.process.send_signal(signal.SIGSTOP)
    until(lambda: any("Redis does not answer" in alarm.text for alarm in collector.view.alarms), "the page is told")
    setup.server.process.send_signal(signal.SIGCONT)
    fed(setup, publication, 40)
    until(lambda: collector.view.frames == 40 and not collector.view.alarms, "it goes on")
    ended(setup, publication, 40)
    until(lambda: not collector._thread.is_alive(), "it ends with the scan")
    check(collector.view, rows, 40)


def test_redis_that_has_lost_the_scan_is_told_and_the_thread_ends(make_setup, make_redis, smx, collect, until):
    setup = make_setup(1, smx=smx(), server=make_redis())
    publication = setup.publish()
    fed(setup, publication, 5)
    collector = collect(setup)
    until(lambda: collector.view.frames == 5, "the first frames")
    setup.server.kill()
    until(lambda: any("Redis does not answer" in alarm.text for alarm in collector.view.alarms), "the page is told")
    setup.server.start()
    setup.server.store._setup_redis_db()
    until(lambda: not collector._thread.is_alive(), "there is nothing to follow any more")
    assert "cannot be followed" in collector.view.alarms[0].text


def test_a_detector_is_not_mixed_up_with_one_whose_name_ends_alike(make_setup, smx, collect, until):
    setup = make_setup(1, smx=smx())
    scan = DataStore(setup.url).load_scan(setup.scan.key)
    reader = collector_module._Reader(scan, collector_module.DetectorView(summary_of(scan), "et"), "et")
    assert not reader._streams
