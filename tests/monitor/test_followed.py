"""Streams read on together, whatever leaves Redis meanwhile."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
import redis
from blissdata.redis_engine.encoding.numeric import NumericStreamEncoder

from lima2_bliss.monitor.followed import Followed

_numbers = itertools.count(1000)
TYPES = {"mean": (np.float64, ()), "hit": (np.uint8, ()), "curve": (np.float32, (3,))}


@pytest.fixture
def make_scan(redis_server):
    """Makes scans with streams `TYPES`; gives the scan, and what sends values."""
    made = []

    def make(types=TYPES):
        identity = {"name": "rows", "number": next(_numbers), "data_policy": "none", "session": "rows"}
        scan = redis_server.store.create_scan(identity, info={})
        streams = {name: scan.create_stream(name, NumericStreamEncoder(*of)) for name, of in types.items()}
        scan.prepare()
        scan.start()
        made.append(scan)

        def send(**values):
            for name, of_stream in values.items():
                streams[name].send(np.asarray(of_stream, types[name][0]))
                streams[name].join()

        return scan, send

    yield make
    for scan in made:
        with contextlib.suppress(Exception):
            scan.close()


def followed(redis_server, scan):
    return Followed(redis_server.store.load_scan(scan.key).streams)


def test_rows_come_once_in_order_until_the_scan_ends(redis_server, make_scan):
    scan, send = make_scan()
    reader = followed(redis_server, scan)
    assert reader.read() == {}
    send(mean=[1.0, 2.0], curve=np.ones((2, 3)))
    rows = reader.read()
    np.testing.assert_array_equal(rows["mean"], [1, 2])
    assert rows["curve"].shape == (2, 3)
    send(mean=[3.0], hit=[1])
    rows = reader.read()
    assert (rows["mean"].tolist(), rows["hit"].tolist(), "curve" in rows) == ([3], [1], False)
    assert not reader.ended
    scan.close()
    while not reader.ended:
        assert reader.read() == {}


def test_a_reader_that_begins_late_gets_a_hundred_thousand_rows_at_once(redis_server, make_scan):
    scan, send = make_scan({"mean": (np.float64, ())})
    for part in np.split(np.arange(100_000.0), 10):
        send(mean=part)
    reader = followed(redis_server, scan)
    np.testing.assert_array_equal(reader.read()["mean"], np.arange(100_000.0))
    assert reader.behind
    assert reader.read() == {}
    assert not reader.behind


def test_all_streams_cost_one_request(redis_server, make_scan):
    scan, send = make_scan({f"roi{i}": (np.float64, ()) for i in range(20)})
    reader = followed(redis_server, scan)
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:

        def requests():
            stats = client.info("commandstats")
            return sum(of["calls"] for name, of in stats.items() if name != "cmdstat_info")

        send(roi0=[1.0], roi19=[2.0])
        before = requests()
        assert set(reader.read()) == {"roi0", "roi19"}
        assert requests() - before == 1


def test_rows_that_have_left_redis_are_made_up_for(redis_server, make_scan):
    scan, send = make_scan()
    late, early = followed(redis_server, scan), followed(redis_server, scan)
    send(mean=[1.0], hit=[1])
    early.read()
    for value in (2.0, 3.0, 4.0):
        send(mean=[value], hit=[1])
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        for stream in redis_server.store.load_scan(scan.key).streams.values():
            client.xtrim(stream.key, minid="3-0", approximate=False)
    rows = late.read()
    np.testing.assert_array_equal(rows["mean"], [np.nan, np.nan, np.nan, 4])
    np.testing.assert_array_equal(rows["hit"], [0, 0, 0, 1])
    np.testing.assert_array_equal(early.read()["mean"], [np.nan, np.nan, 4])
    send(mean=[5.0])
    assert late.read()["mean"].tolist() == [5]
    scan.close()
    while not late.ended:
        assert late.read() == {}


def test_a_stream_of_which_nothing_is_left_ends_with_the_others(redis_server, make_scan):
    scan, send = make_scan()
    send(mean=[1.0, 2.0], hit=[1])
    scan.close()
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        mean = redis_server.store.load_scan(scan.key).streams["mean"].key
        client.xtrim(mean, maxlen=1, approximate=False)  # the seal is left
    reader = followed(redis_server, scan)
    seen = {}
    while not reader.ended:
        seen.update(reader.read())
    assert seen["hit"].tolist() == [1]
    assert "mean" not in seen


def test_rows_that_have_left_redis_come_from_the_scan_file(redis_server, make_scan):
    scan, send = make_scan({"mean": (np.float64, ())})
    for value in (1.0, 2.0, 3.0):
        send(mean=[value])

    class InFile:
        """As blissdata wraps a stream with a file behind it."""

        def __init__(self, stream):
            self._stream = stream
            self.name = stream.name

        def __getitem__(self, rows):
            return np.array([1.0, 2.0, 3.0])[rows]

    reader = Followed({"mean": InFile(redis_server.store.load_scan(scan.key).streams["mean"])})
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        client.xtrim(redis_server.store.load_scan(scan.key).streams["mean"].key, maxlen=1, approximate=False)
    np.testing.assert_array_equal(reader.read()["mean"], [1, 2, 3])
