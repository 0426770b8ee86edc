"""The list of scans follows Redis: new scans, ends, deletions, and Redis itself going away."""

from __future__ import annotations

import contextlib
import itertools
import signal

import pytest
import redis
from blissdata.redis_engine.encoding.numeric import NumericStreamEncoder

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.monitor import scans as scans_module
from lima2_bliss.monitor.scans import Scans

_numbers = itertools.count(1)


class Lab:
    """A Redis, and scans in it as BLISS makes them."""

    def __init__(self, server):
        self.server = server
        self.made = []

    def scan(self, session="demo", detectors=("det",), **info):
        identity = {"name": "take", "number": next(_numbers), "data_policy": "none", "session": session}
        made = self.server.store.create_scan(identity, info=info)
        for name in detectors:
            made.create_stream(f"{name}:nb_peaks", NumericStreamEncoder("int32", ()))
        self.made.append(made)
        return made

    def started(self, **options):
        made = self.scan(**options)
        made.prepare()
        made.start()
        return made


@pytest.fixture
def lab(make_redis):
    made = Lab(make_redis())
    yield made
    for scan in made.made:
        with contextlib.suppress(Exception):
            scan.close()


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(scans_module, "SEARCH_S", 0.2)
    monkeypatch.setattr(scans_module, "TROUBLE_S", 0.05)
    monkeypatch.setattr(scans_module, "LOOK_S", 0.05)
    monkeypatch.setattr(scans_module, "IDLE_S", 0.05)


def test_scans_are_listed_newest_first_and_followed_to_their_end(lab, until):
    old = lab.started(title="old")
    old.info["npoints"] = 7
    old.close()
    with Scans(lab.server.url) as scans:
        until(lambda: [scan.title for scan in scans.summaries()] == ["old"], "the scan that was there")
        assert scans.newest().state == "ended"
        assert scans.newest().npoints == 7
        new = lab.scan(title="new", detectors=("first", "second"))
        until(lambda: len(scans.summaries()) == 2, "the new scan")
        assert scans.summaries()[0].state == "waiting"
        assert scans.newest().title == "old"  # of the new one no detector is known yet
        new.prepare()
        new.start()
        until(lambda: scans.newest().title == "new", "the scan has begun")
        assert (scans.newest().state, scans.newest().detectors) == ("running", ("first", "second"))
        new.stop()
        until(lambda: scans.newest().state == "ended", "the scan has ended")
        new.info["end_time"] = "2026-01-01T12:00:00+00:00"
        new.close()
        until(lambda: scans.newest().end is not None, "what the scan says last")
        assert scans.open(new.key).info["title"] == "new"


def test_only_the_scans_of_a_session(lab, until):
    one, two = lab.started(session="one"), lab.started(session="two")
    with Scans(lab.server.url) as scans, Scans(lab.server.url, "two") as of_two:
        until(lambda: scans.sessions() == ["one", "two"], "both sessions")
        assert scans.newest("one").key == one.key
        until(lambda: [scan.key for scan in of_two.summaries()] == [two.key], "the scan of session two")


def test_deleted_scans_leave_the_list(lab, until):
    scan = lab.started()
    with Scans(lab.server.url) as scans:
        until(lambda: scans.newest() is not None, "the scan")
        scan.close()
        lab.server.store.delete_scan(scan.key)
        with contextlib.closing(redis.Redis.from_url(lab.server.url)) as client:
            client.delete(scan.key)  # what happens ten seconds later
        until(lambda: not scans.summaries(), "the scan is gone")
        with pytest.raises(NotAvailableError, match="no longer, in Redis"):
            scans.open(scan.key)


def test_redis_may_go_away_and_come_back(lab, until):
    lab.started(title="before")
    with Scans(f"{lab.server.url}?socket_timeout=0.2") as scans:
        until(lambda: scans.newest() is not None, "the scan")
        lab.server.process.send_signal(signal.SIGSTOP)
        until(lambda: "does not answer" in scans.trouble, "Redis that hangs is noticed")
        assert scans.newest().title == "before"
        lab.server.process.send_signal(signal.SIGCONT)
        until(lambda: not scans.trouble, "Redis that goes on is noticed")
        lab.server.kill()
        until(lambda: scans.trouble, "Redis that is gone is noticed")
        lab.server.start()
        lab.server.store._setup_redis_db()
        until(lambda: not scans.trouble and not scans.summaries(), "the new Redis has no scans")
        lab.started(title="after")
        until(lambda: scans.newest() is not None, "scans in the new Redis")
        assert scans.newest().title == "after"


def test_while_nothing_runs_little_is_asked(lab, until, monkeypatch):
    monkeypatch.setattr(scans_module, "SEARCH_S", 1000)
    for _ in range(5):
        lab.started().close()
    with Scans(lab.server.url) as scans, contextlib.closing(redis.Redis.from_url(lab.server.url)) as client:
        until(lambda: len(scans.summaries()) == 5, "all scans")

        def calls(*names):
            stats = client.info("commandstats")
            return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)

        searches, asked = calls("FT.SEARCH"), calls("xread")
        until(lambda: calls("xread") >= asked + 5, "the list waits for new scans")
        assert calls("FT.SEARCH") == searches > 0
        assert len(scans._scans) == 0  # nothing is kept open of scans that have ended


def test_scans_that_never_ended_are_not_asked_again_and_again(lab, until, monkeypatch):
    monkeypatch.setattr(scans_module, "_RECENT", 2)
    monkeypatch.setattr(scans_module, "SEARCH_S", 1000)
    left = [lab.started() for _ in range(4)]
    with Scans(lab.server.url) as scans:
        until(lambda: len(scans.summaries()) == 4, "all scans")
        left[0].close()
        left[3].close()
        until(lambda: scans.summaries()[0].state == "ended", "a recent one is followed")
        assert scans.summaries()[3].state == "running"
        last = lab.started()
        until(lambda: scans.summaries()[0].key == last.key, "the next scan")
        until(lambda: scans.summaries()[4].state == "ended", "with it, all are looked at")
