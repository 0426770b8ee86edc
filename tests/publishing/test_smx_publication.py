"""Rows of the SMX pipeline reach a plain blissdata consumer: scalars, vectors, spots, sparse frames, in frame order."""

import contextlib
import signal

import numpy as np
import pytest
import redis

from lima2_bliss.contract import FrameFlags
from lima2_bliss.publishing.job import Budget

#: What any consumer finds, without our package.
DTYPES = {
    "frame_index": "int64",
    "frame_flags": "uint32",
    "timestamp": "float64",
    "nb_peaks": "int32",
    "is_hit": "uint8",
    "nb_sparse": "int32",
    "hit_rate": "float32",
    "background_avg": "float32",
    "background_std": "float32",
    "spots_frame": "int64",
    "spots_y": "float32",
    "spots_x": "float32",
    "spots_intensity": "float32",
    "spots_sigma": "float32",
    "spots_size": "int32",
    "sparse_index": "int32",
    "sparse_intensity": "float32",
}


def rows_of(setup, frames, holes=()):
    """All rows of frames, one after another, by result stream."""
    rows = setup.receivers[0].feeder.rows
    of_frames = [rows.rows_of(i, 0, FrameFlags.LOST if i in holes else FrameFlags.GOOD) for i in range(frames)]
    return {name: np.concatenate([of_frame[name] for of_frame in of_frames]) for name in of_frames[0]}


def end(setup, publication, frames):
    for receiver in setup.receivers:
        receiver.feeder.end()
    publication.wait(frames, 5)
    publication.finish()
    status = publication.wait_end(5)
    assert (status.state, status.error, status.rows) == ("done", "", frames)
    return status


def points(setup):
    """All points of all numeric streams."""
    streams = setup.reader().streams
    return {
        name.removeprefix("det:"): stream[0 : len(stream)] for name, stream in streams.items() if name != "det:image"
    }


@pytest.mark.parametrize("nb_receivers", [1, 3])
def test_all_streams_have_the_rows_in_frame_order_with_the_documented_dtypes(make_setup, smx, nb_receivers):
    total = 29
    setup = make_setup(nb_receivers, nb_frames=total, smx=smx())
    publication = setup.publish()
    for rank in reversed(range(nb_receivers)):
        feeder = setup.receivers[rank].feeder
        feeder.feed(feeder.dispatch.count(rank, total))
    status = end(setup, publication, total)
    assert (status.warnings, status.stopped) == ([], {})

    expected, read = rows_of(setup, total), points(setup)
    assert {name: read[name].dtype.name for name in DTYPES} == DTYPES
    for name in ("nb_peaks", "is_hit", "nb_sparse"):
        np.testing.assert_array_equal(read[name], expected["smx_frame"][name])
    np.testing.assert_array_equal(read["background_avg"], expected["background"]["avg"].reshape(total, -1))
    np.testing.assert_array_equal(read["spots_frame"], expected["spots"]["frame_idx"])
    for column in ("y", "x", "intensity", "sigma", "size"):
        np.testing.assert_array_equal(read[f"spots_{column}"], expected["spots"][column])
    for column in ("index", "intensity"):
        np.testing.assert_array_equal(read[f"sparse_{column}"], expected["sparse"][column])
    np.testing.assert_allclose(read["hit_rate"], np.cumsum(read["is_hit"]) / np.arange(1, total + 1), rtol=1e-6)


def test_holes_and_empty_frames_have_no_rows_and_shift_nothing(make_setup, smx):
    setup = make_setup(1, nb_frames=5, smx=smx(spots=0, pixels=0))
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(2, FrameFlags.LOST)
    feeder.feed(1)
    feeder.feed(1, FrameFlags.LOST)
    feeder.rows = smx(spots=3, pixels=2)
    feeder.feed(1)
    end(setup, publication, 5)
    read = points(setup)
    np.testing.assert_array_equal(read["nb_peaks"], [0, 0, 0, 0, 3])
    np.testing.assert_array_equal(read["spots_frame"], [4, 4, 4])
    np.testing.assert_array_equal(np.isnan(read["background_avg"]).all(axis=1), [True, True, False, True, False])
    np.testing.assert_array_equal(read["hit_rate"], np.array([np.nan, np.nan, 0, 0, 0.5], np.float32))
    assert len(read["sparse_index"]) == 2


def test_a_spent_budget_ends_sparse_frames_at_a_frame_and_all_else_goes_on(make_setup, smx):
    setup = make_setup(2, smx=smx(pixels=50), budget=Budget(sparse_bytes=9000, window_s=1e6))
    publication = setup.publish()
    for frames in range(6, 37, 6):
        for receiver in setup.receivers:
            receiver.feeder.feed(3)
        publication.wait(frames, 5)
    status = end(setup, publication, 36)
    assert any("sparse frames (sparse_index, sparse_intensity) stopped after" in text for text in status.warnings)
    read = points(setup)
    frames = status.stopped["sparse"]
    assert 0 < frames <= 9000 / (50 * 8)
    assert len(read["sparse_index"]) == len(read["sparse_intensity"]) == frames * 50
    np.testing.assert_array_equal(read["sparse_index"], rows_of(setup, frames)["sparse"]["index"])
    assert len(read["nb_sparse"]) == len(read["background_avg"]) == 36
    assert len(read["spots_y"]) == read["nb_peaks"].sum()


def test_what_was_given_up_stays_given_up_in_the_next_acquisition_of_the_scan(make_setup, smx, hand_fed):
    setup = make_setup(1, nb_frames=3, smx=smx(spots=2, pixels=50), budget=Budget(sparse_bytes=0))
    publication = setup.publish()
    setup.receivers[0].feeder.feed(3)
    assert end(setup, publication, 3).stopped == {"sparse": 0}
    again = hand_fed.HandFedReceiver("second", rows=smx(spots=2, pixels=50))
    setup.receivers.append(again)
    address = setup.job.receivers[0].model_copy(update={"endpoint": again.endpoint})
    changes = {"uuid": "second", "first_frame": 3, "receivers": [address], "budget": Budget()}
    setup.job = setup.job.model_copy(update=changes)
    publication = setup.publish()
    again.feeder.feed(2)
    status = end(setup, publication, 2)
    assert status.stopped == {"sparse": 3}
    read = points(setup)
    assert len(read["sparse_index"]) == 0
    np.testing.assert_array_equal(read["spots_frame"], np.repeat(np.arange(5), 2))


def test_rows_that_a_receiver_dropped_before_they_were_read_end_their_streams_only(make_setup, smx):
    setup = make_setup(1, nb_frames=6, smx=smx(spots=1, pixels=50_000, sparse_bytes=1))
    feeder = setup.receivers[0].feeder
    feeder.feed(5)
    assert feeder.log.first("sparse") > 0
    publication = setup.publish()
    feeder.feed(1)
    status = end(setup, publication, 6)
    assert status.stopped == {"sparse": 0}
    assert any("dropped their rows before" in text for text in status.warnings)
    read = points(setup)
    assert len(read["sparse_index"]) == 0
    assert len(read["spots_y"]) == 6


@pytest.mark.parametrize("room", [1000, 64 << 20])
def test_many_rows_come_in_several_replies_and_are_published_whole(make_setup, smx, monkeypatch, room):
    monkeypatch.setattr("lima2_bliss.publishing.publication.MAX_WAITING_BYTES", room)
    setup = make_setup(2, smx=smx(nb_bins=2, spots=1, pixels=40_000))
    for receiver in setup.receivers:
        receiver.feeder.feed(10)
    publication = setup.publish()
    end(setup, publication, 20)
    read = points(setup)
    np.testing.assert_array_equal(read["sparse_index"], rows_of(setup, 20)["sparse"]["index"])


def test_streams_nobody_takes_are_not_asked_of_the_receivers(make_setup, smx):
    rows = smx(pixels=10)
    setup = make_setup(1, nb_frames=4, smx=rows)
    streams = [target for target in setup.job.streams if not target.definition.name.startswith(("sparse_", "backgr"))]
    setup.job = setup.job.model_copy(update={"streams": streams})
    assert setup.job.rows_to_read()[0].keys() == {"frame_event", "smx_frame"}
    assert setup.job.rows_to_read()[1].keys() == {"spots"}
    publication = setup.publish()
    setup.receivers[0].feeder.feed(4)
    end(setup, publication, 4)
    assert "sparse_index" not in publication.status().published
    assert len(points(setup)["nb_sparse"]) == 4


def test_a_redis_that_pauses_shortly_loses_and_doubles_no_spot(make_setup, make_redis, smx):
    setup = make_setup(1, nb_frames=40, server=make_redis(), smx=smx())
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
    end(setup, publication, 40)
    read, expected = points(setup), rows_of(setup, 40)
    np.testing.assert_array_equal(read["spots_intensity"], expected["spots"]["intensity"])
    np.testing.assert_array_equal(read["sparse_intensity"], expected["sparse"]["intensity"])


def test_a_full_redis_ends_all_families_at_one_frame_and_the_scalars_go_on(make_setup, make_redis, smx, until):
    setup = make_setup(1, nb_frames=30, server=make_redis(), smx=smx(spots=2))
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(10)
    publication.wait(10, 5)
    with contextlib.closing(redis.Redis.from_url(setup.url)) as admin:
        admin.config_set("maxmemory", "1mb")  # less than it holds already: every write is refused
        feeder.feed(20)
        until(lambda: len(publication.status().stopped) == 3, "all families are given up")
        admin.config_set("maxmemory", "256mb")
        status = end(setup, publication, 30)
    assert len(set(status.stopped.values())) == 1
    frames = status.stopped["spots"]
    read = points(setup)
    assert len(read["spots_y"]) == len(read["spots_frame"]) == 2 * frames
    assert len(read["background_std"]) == frames
    assert len(read["hit_rate"]) == len(read["nb_peaks"]) == 30


def test_families_give_way_one_after_another_while_redis_fills(make_setup, smx, monkeypatch):
    setup = make_setup(1, nb_frames=30, smx=smx())
    publication = setup.publish()
    writer, feeder = publication._writer, setup.receivers[0].feeder
    gave_way = []
    for fill, frames in ((0.86, 2), (0.91, 4), (0.96, 6)):
        monkeypatch.setattr(writer._stream, "memory_fill", lambda fill=fill: fill)
        writer._memory_due = 0.0
        feeder.feed(2)
        publication.wait(frames, 5)
        publication.wait_end(0.01)
        while len(writer.stopped) == len(gave_way):
            publication.wait_end(0.01)
        gave_way = list(writer.stopped)
    assert gave_way == ["sparse", "background", "spots"]
    end(setup, publication, 6)


def test_accumulated_images_of_all_receivers_are_put_together(make_setup, smx, until):
    setup = make_setup(2, nb_frames=6, smx=smx())
    publication = setup.publish()
    shape = (24, 40)
    peaks = [np.full(shape, 2, np.uint32), np.full(shape, 5, np.uint32)]
    corrected = [np.full(shape, 1.0, np.float32), np.full(shape, 4.0, np.float32)]
    corrected[0][0, 0] = corrected[1][0, 0] = corrected[1][0, 1] = np.nan
    for receiver, frames in zip(setup.receivers, (2, 1), strict=True):
        receiver.feeder.feed(frames)
        receiver.feeder.hand_out("acc_peaks", peaks[receiver.feeder.rank])
        receiver.feeder.hand_out("acc_corrected", corrected[receiver.feeder.rank])
    until(lambda: publication.status().published["acc_peaks"], "a live image")
    for receiver, frames in zip(setup.receivers, (1, 2), strict=True):
        receiver.feeder.feed(frames)
        receiver.feeder.hand_out("acc_peaks", peaks[receiver.feeder.rank] + 1)
    end(setup, publication, 6)
    streams = setup.reader().streams
    last = streams["det:acc_peaks"][len(streams["det:acc_peaks"]) - 1]
    np.testing.assert_array_equal(last, np.full(shape, 3 + 6))
    mean = streams["det:acc_corrected"][len(streams["det:acc_corrected"]) - 1]
    assert mean.dtype == np.float32
    assert mean[5, 5] == pytest.approx((2 * 1 + 1 * 4) / 3)
    assert np.isnan(mean[0, 0])
    assert mean[0, 1] == 1.0


def test_a_missing_accumulated_image_is_no_harm(make_setup, smx):
    setup = make_setup(1, nb_frames=2, smx=smx())
    publication = setup.publish()
    setup.receivers[0].feeder.feed(2)
    status = end(setup, publication, 2)
    assert status.warnings == []
    assert publication.status().published["acc_peaks"] == 0
