"""What the receivers give is what a blissdata consumer reads: same order, same values, same length."""

import time

import numpy as np
import pytest
from blissdata.redis_engine.exceptions import EndOfStream

from lima2_bliss.contract import FrameFlags, error_from_json
from lima2_bliss.contract.errors import AcquisitionError


def read_all(stream):
    cursor, parts = stream.cursor(), []
    try:
        while True:
            _index, data = cursor.read(timeout=5)
            parts.append(data)
    except EndOfStream:
        return np.concatenate(parts) if parts else np.empty(0)


@pytest.mark.parametrize("nb_receivers", [1, 2, 3])
def test_rows_of_all_receivers_reach_a_consumer_in_frame_order(make_setup, nb_receivers):
    total = 25
    setup = make_setup(nb_receivers, nb_frames=total)
    publication = setup.publish()
    for rank in reversed(range(nb_receivers)):
        feeder = setup.receivers[rank].feeder
        feeder.feed(feeder.dispatch.count(rank, total))
        feeder.end()
    assert publication.wait(total, 5).rows == total
    publication.finish()
    status = publication.wait_end(5)
    assert (status.state, status.error, status.warnings) == ("done", "", [])
    setup.scan.stop()

    streams = setup.reader().streams
    indices = np.arange(total)
    np.testing.assert_array_equal(read_all(streams["det:frame_index"]), indices)
    np.testing.assert_array_equal(read_all(streams["det:frame_flags"]), np.zeros(total))
    np.testing.assert_array_equal(read_all(streams["det:roi1_sum"]), indices * 10.0)
    np.testing.assert_array_equal(read_all(streams["det:roi2_max"]), indices * 10.0 + 4 + 1000)
    np.testing.assert_array_equal(streams["det:profile1"][:], indices[:, None] + np.arange(6) / 10)
    assert np.all(np.diff(streams["det:timestamp"][:]) >= -1)
    for name, stream in streams.items():
        assert stream.is_sealed()
        if not name.endswith(("image", "preview", "preview_index")):
            assert len(stream) == total, name
    assert streams["det:image"][-1] == {"last_index": total - 1, "last_index_saved": -1}
    published = publication.status().published
    assert published["roi1_sum"] == published["profile1"] == total
    assert published["preview"] == len(streams["det:preview"]) >= 1


def test_a_hole_is_published_as_nan_with_its_flag_and_nothing_shifts(make_setup):
    setup = make_setup(2, nb_frames=6)
    publication = setup.publish()
    even, odd = (receiver.feeder for receiver in setup.receivers)
    even.feed(3)
    odd.feed(1)
    odd.feed(1, FrameFlags.LOST)
    odd.feed(1)
    publication.wait(6, 5)
    publication.finish()
    assert publication.wait_end(5).state == "done"
    streams = setup.reader().streams
    flags = streams["det:frame_flags"][0:6]
    np.testing.assert_array_equal(flags, [0, 0, 0, FrameFlags.LOST, 0, 0])
    sums = streams["det:roi1_sum"][0:6]
    assert np.isnan(sums[3])
    np.testing.assert_array_equal(np.delete(sums, 3), [0, 10, 20, 40, 50])


def test_a_stop_ends_at_the_cut_that_the_receivers_tell(make_setup):
    setup = make_setup(2, nb_frames=1000)
    publication = setup.publish()
    for receiver, frames in zip(setup.receivers, (4, 3), strict=True):
        receiver.feeder.feed(frames)
    assert publication.wait(7, 5).rows == 7
    assert not publication.status().complete
    publication.finish()
    assert publication.wait(8, 0.2).state == "draining"
    for receiver in setup.receivers:
        receiver.feeder.end()
    status = publication.wait_end(5)
    assert (status.state, status.rows, status.complete) == ("done", 7, True)


def test_finish_of_an_acquisition_without_any_frame_is_done(make_setup):
    setup = make_setup(2, nb_frames=10)
    publication = setup.publish()
    for receiver in setup.receivers:
        receiver.feeder.end()
    publication.finish()
    status = publication.wait_end(5)
    assert (status.state, status.rows, status.error) == ("done", 0, "")


def test_a_dead_receiver_leaves_the_contiguous_prefix_and_an_error_that_names_it(make_setup, until):
    setup = make_setup(2, nb_frames=20)
    publication = setup.publish()
    alive, dead = setup.receivers
    alive.feeder.feed(6)
    dead.feeder.feed(2)
    assert publication.wait(5, 5).rows == 5
    until(lambda: publication.status().received == [6, 2], "all rows are here")
    dead.close()
    status = publication.wait_end(5)
    assert status.state == "failed"
    assert status.rows == 5
    error = error_from_json(status.error)
    assert "test/receiver/2" in error.what
    assert error.errinfo["receiver"] == "test/receiver/2"
    assert status.waiting == 3
    np.testing.assert_array_equal(setup.reader().streams["det:frame_index"][0:5], np.arange(5))


def test_a_killed_receiver_process_is_noticed_at_once(make_setup, receiver_process):
    setup = make_setup(2, nb_frames=50)
    process, endpoint = receiver_process(setup.job.uuid, rank=1, receivers=2, frames=2)
    setup.job.receivers[1].endpoint = endpoint
    publication = setup.publish()
    setup.receivers[0].feeder.feed(10)
    assert publication.wait(5, 5).rows == 5
    process.kill()
    killed = time.monotonic()
    status = publication.wait(6, 5)
    assert "test/receiver/2" in status.error
    assert time.monotonic() - killed < 1
    assert publication.wait_end(5).state == "failed"


def test_a_failed_pipeline_publishes_what_it_has_and_says_why(make_setup):
    setup = make_setup(1, nb_frames=20)
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(3)
    feeder.end("failed", AcquisitionError("disk is full").to_json())
    status = publication.wait_end(5)
    assert (status.state, status.rows) == ("failed", 3)
    assert "test/receiver/1 failed: disk is full" in status.error


def test_a_receiver_that_never_answers_is_named_within_the_time_limit(make_setup):
    setup = make_setup(1, nb_frames=2)
    setup.receivers[0].close()
    setup.job.limits.connect_timeout_s = 0.3
    status = setup.publish().wait_end(5)
    assert status.state == "failed"
    assert "test/receiver/1 cannot be reached" in status.error


def test_an_acquisition_that_a_receiver_does_not_know_is_an_error_that_names_both(make_setup):
    setup = make_setup(1)
    setup.receivers[0].pipelines["other"] = setup.receivers[0].pipelines.pop(setup.job.uuid)
    status = setup.publish().wait_end(5)
    assert status.state == "failed"
    assert "test/receiver/1" in status.error
    assert setup.job.uuid in status.error


def test_finish_does_not_wait_for_ever_for_a_receiver_that_hangs(make_setup):
    setup = make_setup(2, nb_frames=10)
    publication = setup.publish()
    setup.receivers[0].feeder.feed(5)
    setup.receivers[0].feeder.end()
    publication.finish()
    status = publication.wait_end(5)
    assert status.state == "failed"
    assert "test/receiver/2 did not finish" in status.error


def test_abort_ends_at_once_and_is_an_error(make_setup):
    setup = make_setup(1)
    publication = setup.publish()
    setup.receivers[0].feeder.feed(2)
    publication.wait(2, 5)
    publication.abort("Ctrl-C")
    status = publication.wait_end(5)
    assert status.state == "failed"
    assert "Ctrl-C" in status.error


def test_last_index_saved_follows_complete_files_of_one_receiver(make_setup, until):
    setup = make_setup(1, nb_frames=10, saved="receiver_files")
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(7)
    publication.wait(7, 5)
    feeder.saved_contiguous = 5
    feeder.changed()
    until(lambda: publication.status().last_index_saved == 4, "the complete file is published")
    feeder.feed(3)
    feeder.saved_contiguous = 10
    feeder.end()
    publication.finish()
    assert publication.wait(11, 5).last_index_saved == 9
    image = setup.reader().streams["det:image"]
    assert image[len(image) - 1] == {"last_index": 9, "last_index_saved": 9}


def test_last_index_saved_of_several_receivers_comes_with_the_master_file(make_setup):
    setup = make_setup(2, nb_frames=4, saved="master")
    publication = setup.publish()
    for receiver in setup.receivers:
        receiver.feeder.feed(2)
        receiver.feeder.saved_contiguous = 2
        receiver.feeder.end()
    assert publication.wait(4, 5).last_index_saved == -1
    publication.finish(saved=4)
    assert publication.wait(5, 5).last_index_saved == 3


def test_a_second_acquisition_of_the_scan_goes_on_behind_the_first(make_setup, hand_fed):
    setup = make_setup(1, nb_frames=3)
    first = setup.publish()
    setup.receivers[0].feeder.feed(3)
    setup.receivers[0].feeder.end()
    first.finish()
    assert first.wait(4, 5).state == "done"
    again = hand_fed.HandFedReceiver("second")
    setup.receivers.append(again)
    address = setup.job.receivers[0].model_copy(update={"endpoint": again.endpoint})
    setup.job = setup.job.model_copy(update={"uuid": "second", "first_frame": 3, "receivers": [address]})
    second = setup.publish()
    again.feeder.feed(2)
    second.wait(2, 5)
    second.abort("end")
    second.wait(3, 5)
    streams = setup.reader().streams
    np.testing.assert_array_equal(streams["det:frame_index"][0:5], [0, 1, 2, 0, 1])
    assert streams["det:image"][len(streams["det:image"]) - 1]["last_index"] == 4


def test_the_preview_is_the_binned_newest_frame(make_setup, hand_fed):
    setup = make_setup(1, nb_frames=3)
    publication = setup.publish()
    setup.receivers[0].feeder.feed(3)
    publication.wait(3, 5)
    publication.finish()
    assert publication.wait(4, 5).previews >= 1
    streams = setup.reader().streams
    last = len(streams["det:preview_index"]) - 1
    assert streams["det:preview_index"][last] == 2
    expected = hand_fed.pixels_of(2)[0].reshape(12, 2, 20, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(streams["det:preview"][last], expected, rtol=1e-6)


def test_a_preview_of_a_scan_of_holes_is_left_out_without_harm(make_setup):
    setup = make_setup(1, nb_frames=2)
    publication = setup.publish()
    setup.receivers[0].feeder.feed(2, FrameFlags.LOST)
    publication.wait(2, 5)
    publication.finish()
    status = publication.wait_end(5)
    assert (status.state, status.previews, status.error) == ("done", 0, "")
