"""A Redis that is gone, full or somebody else's ends in a named error or a warning, never in a hang."""

import contextlib
import signal
import time

import numpy as np
import pytest
import redis

from lima2_bliss.publishing.budget import ByteBudget
from lima2_bliss.publishing.job import Budget, StreamTarget
from lima2_bliss.publishing.stream_writer import StreamWriter
from lima2_bliss.publishing.streams import StreamDefinition


def test_a_killed_redis_is_a_named_error_after_bounded_retries(make_setup, make_redis):
    setup = make_setup(1, nb_frames=10, server=make_redis())
    publication = setup.publish()
    setup.receivers[0].feeder.feed(2)
    assert publication.wait(2, 5).rows == 2
    setup.server.kill()
    started = time.monotonic()
    setup.receivers[0].feeder.feed(2)
    status = publication.wait_end(5)
    assert status.state == "failed"
    assert f"Redis at {setup.url} does not answer" in status.error
    assert time.monotonic() - started < 5


def test_a_redis_that_pauses_shortly_loses_and_doubles_nothing(make_setup, make_redis):
    setup = make_setup(1, nb_frames=40, server=make_redis())
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(10)
    publication.wait(10, 5)
    with contextlib.closing(redis.Redis.from_url(setup.url)) as admin:
        for _ in range(3):  # connections cut while rows are being written
            admin.client_kill_filter(_type="normal", skipme=True)
            feeder.feed(10)
            setup.server.process.send_signal(signal.SIGSTOP)
            setup.server.process.send_signal(signal.SIGCONT)
    assert publication.wait(40, 5).rows == 40
    publication.finish()
    status = publication.wait_end(5)
    assert (status.state, status.error) == ("done", "")
    stream = setup.reader().streams["det:frame_index"]
    np.testing.assert_array_equal(stream[0:40], np.arange(40))


def test_a_redis_that_lost_its_data_is_an_error(make_setup, make_redis):
    setup = make_setup(1, nb_frames=10, server=make_redis())
    publication = setup.publish()
    setup.receivers[0].feeder.feed(2)
    publication.wait(2, 5)
    setup.server.kill()
    setup.server.start()
    setup.receivers[0].feeder.feed(2)
    status = publication.wait_end(5)
    assert status.state == "failed"
    assert "came back without its data" in status.error


def test_a_stream_sealed_too_early_is_an_error_that_says_so(make_setup):
    setup = make_setup(1, nb_frames=10)
    publication = setup.publish()
    setup.receivers[0].feeder.feed(2)
    publication.wait(2, 5)
    setup.scan.stop()
    setup.receivers[0].feeder.feed(2)
    status = publication.wait_end(5)
    assert status.state == "failed"
    assert "sealed" in status.error


def test_beginning_on_sealed_streams_is_an_error(make_setup):
    setup = make_setup(1, nb_frames=10)
    setup.scan.stop()
    status = setup.publish().wait_end(5)
    assert status.state == "failed"
    assert "already sealed" in status.error


def test_a_vector_budget_that_is_spent_stops_vectors_with_a_warning_and_scalars_go_on(make_setup):
    setup = make_setup(1, nb_frames=50, budget=Budget(vector_bytes=2000, preview_bytes=0, window_s=1e6))
    publication = setup.publish()
    for _ in range(5):
        setup.receivers[0].feeder.feed(10)
        publication.wait(publication.status().rows + 10, 5)
    publication.wait(50, 5)
    publication.finish()
    status = publication.wait_end(5)
    assert (status.state, status.rows, status.error) == ("done", 50, "")
    assert any("vectors (profile1) stopped" in warning for warning in status.warnings)
    published = publication.status().published
    assert published["roi1_sum"] == 50
    assert published["preview"] == 0
    assert 0 < published["profile1"] < 50
    streams = setup.reader().streams
    count = published["profile1"]
    assert len(streams["det:profile1"]) == count
    np.testing.assert_array_equal(streams["det:profile1"][0:count][:, 0], np.arange(count))


def test_a_redis_that_gets_full_never_ends_the_acquisition(make_setup, make_redis, until):
    server = make_redis()
    setup = make_setup(1, nb_frames=60, server=server)
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(10)
    publication.wait(10, 5)
    with contextlib.closing(redis.Redis.from_url(server.url)) as admin:
        admin.config_set("maxmemory", "1mb")  # less than it holds already: every write is refused
        feeder.feed(20)
        until(lambda: publication.status().warnings, "a warning")
        status = publication.wait(30, 0.5)
        assert (status.state, status.rows, status.error) == ("running", 10, "")
        assert any("vectors (profile1) stopped after 10 frames" in warning for warning in status.warnings)
        admin.config_set("maxmemory", "256mb")
        assert publication.wait(30, 5).rows == 30
        feeder.feed(30)
        assert publication.wait(60, 5).rows == 60
    publication.finish()
    assert publication.wait_end(5).state == "done"
    np.testing.assert_array_equal(setup.reader().streams["det:roi1_sum"][0:60], np.arange(60) * 10.0)


def test_a_redis_that_stays_full_ends_as_done_with_a_warning_and_true_counts(make_setup, make_redis):
    server = make_redis()
    setup = make_setup(1, nb_frames=30, server=server)
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(10)
    publication.wait(10, 5)
    with contextlib.closing(redis.Redis.from_url(server.url)) as admin:
        admin.config_set("maxmemory", "1mb")
        feeder.feed(20)
        feeder.end()
        publication.finish()
        status = publication.wait_end(10)
        assert (status.state, status.error) == ("done", "")
        assert any("were given up" in warning for warning in status.warnings)
        assert publication.status().published["roi1_sum"] == 10
        assert status.rows == 10
        admin.config_set("maxmemory", "256mb")


def test_another_writer_in_a_stream_is_refused(make_setup):
    setup = make_setup(1)
    definition = StreamDefinition(name="frame_index", kind="scalar", dtype="int64", source="frame_event")
    key = next(target.key for target in setup.job.streams if target.definition.name == "frame_index")
    target = StreamTarget(definition=definition, key=key)
    first, second = StreamWriter(setup.url, [target]), StreamWriter(setup.url, [target])
    first.attach()
    second.attach()
    first.write({"frame_index": np.arange(3)})
    with pytest.raises(Exception, match="somebody else writes"):
        second.write({"frame_index": np.arange(2)})
    first.close()
    second.close()


def test_a_byte_budget_refills_with_time():
    now = [0.0]
    budget = ByteBudget(100, window_s=10, clock=lambda: now[0])
    assert budget.spend(100)
    assert not budget.spend(1)
    now[0] = 1.0
    assert budget.spend(10)
    assert not budget.spend(1)
    now[0] = 1000.0
    assert not budget.spend(101)
    assert budget.spend(100)
