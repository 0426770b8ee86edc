"""Many frames at once, from receivers' memory and receivers' files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import FrameFlags, FrameMeta, RoundRobin
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.publishing.blissdata2_frames import BulkFrames, runs
from lima2_bliss.publishing.frame_places import FRAMES, FramePlaces, frame_places, saved_frames
from lima2_receivers.saving import make_writer

UUID = "a-run"
DEPTH = 8  # frames that a receiver filled by hand keeps


class Bench:
    """Receivers filled by hand, the files of some of their frames, and a reader of both."""

    def __init__(self, hand_fed, nb_receivers: int, directory: Path) -> None:
        self.hand_fed = hand_fed
        self.dispatch = RoundRobin(nb_receivers)
        self.receivers = [hand_fed.HandFedReceiver(UUID, rank, nb_receivers) for rank in range(nb_receivers)]
        self.saving = Saving(enabled=True, base_path=str(directory), filename_prefix="run", nb_frames_per_file=4)
        self.opened: list[BulkFrames] = []

    def reader(self, saved: bool = False, uuid: str = UUID) -> BulkFrames:
        places = FramePlaces(
            uuid=uuid,
            endpoints=[receiver.endpoint for receiver in self.receivers],
            receivers=[receiver.name for receiver in self.receivers],
            saved=saved_frames(self.saving.layout()) if saved else None,
        )
        info = self.hand_fed.INFO
        self.opened.append(BulkFrames(places, (info.height, info.width), info.dtype, silent_s=0.3))
        return self.opened[-1]

    def feed(self, nb_frames: int) -> None:
        for rank, receiver in enumerate(self.receivers):
            receiver.feeder.feed(self.dispatch.count(rank, nb_frames))

    def save(self, nb_frames: int, lost: int = -1) -> None:
        """Frames in complete receiver files."""
        for rank in range(len(self.receivers)):
            saving = self.saving.model_copy(update={"filename_rank": rank})
            writer = make_writer(saving, self.hand_fed.INFO, rank, {})
            for local in range(self.dispatch.count(rank, nb_frames)):
                index = self.dispatch.global_index(rank, local)
                flags = FrameFlags.LOST if index == lost else FrameFlags.GOOD
                writer.write(None if flags else self.hand_fed.pixels_of(index), FrameMeta(index, local, 0, flags))
            writer.close()

    def expected(self, indices) -> np.ndarray:
        return np.concatenate([self.hand_fed.pixels_of(index) for index in indices])

    def close(self) -> None:
        for reader in self.opened:
            reader.close()
        for receiver in self.receivers:
            receiver.close()


@pytest.fixture(params=[1, 3], ids=lambda count: f"{count}recv")
def bench(hand_fed, request, tmp_path):
    made = Bench(hand_fed, request.param, tmp_path)
    yield made
    made.close()


def test_frames_come_from_memory_in_any_order_and_twice(bench):
    bench.feed(DEPTH)
    wanted = [5, 0, 7, 5, 2]
    images, missing = bench.reader().read(wanted)
    assert missing == []
    np.testing.assert_array_equal(images, bench.expected(wanted))


def test_nothing_asked_is_nothing(bench):
    images, missing = bench.reader().read([])
    assert images.shape == (0, bench.hand_fed.INFO.height, bench.hand_fed.INFO.width)
    assert missing == []


def test_what_left_memory_comes_from_files_and_what_is_in_no_file_from_memory(bench):
    total = 3 * DEPTH * len(bench.receivers)
    bench.feed(total)
    bench.save(total - 5)
    images, missing = bench.reader(saved=True).read(range(total))
    assert missing == []
    np.testing.assert_array_equal(images, bench.expected(range(total)))


def test_what_is_nowhere_is_named(bench):
    total, kept = 3 * DEPTH * len(bench.receivers), DEPTH * len(bench.receivers)
    bench.feed(total)
    images, missing = bench.reader().read(range(total))
    assert missing == list(range(total - kept))
    np.testing.assert_array_equal(images[total - kept :], bench.expected(range(total - kept, total)))
    assert not images[: total - kept].any()


def test_receivers_that_forgot_the_acquisition_or_are_gone_are_left_alone(bench):
    bench.feed(6)
    bench.save(6)
    forgotten = bench.reader(saved=True, uuid="another run")
    for reader in (forgotten, bench.reader(saved=True)):
        if reader is not forgotten:
            for receiver in bench.receivers:
                receiver.close()
        for _ in range(2):
            images, missing = reader.read(range(6))
            assert missing == []
            np.testing.assert_array_equal(images, bench.expected(range(6)))
        assert reader._ask_again.keys() == set(range(len(bench.receivers)))


def test_a_lost_frame_is_zeros_when_saved_and_missing_when_not(bench):
    bench.feed(len(bench.receivers))
    bench.receivers[0].feeder.feed(1, FrameFlags.LOST)
    lost = len(bench.receivers)
    assert bench.reader().read([0, lost])[1] == [1]
    bench.save(lost + 1, lost=lost)
    images, missing = bench.reader(saved=True).read([0, lost])
    assert missing == []
    assert images[0].any()
    assert not images[1].any()


def test_frames_are_counted_from_files_or_from_memory(bench):
    assert bench.reader(saved=True).count() == 0
    bench.feed(5)
    assert bench.reader().count() == bench.reader(saved=True).count() == 5
    bench.save(11)
    assert bench.reader(saved=True).count() == 11


def test_streams_of_other_detectors_or_versions_tell_no_places(caplog):
    assert frame_places({"format": "lima_v1"}) is None
    assert not caplog.records
    assert frame_places({FRAMES: {"uuid": "x"}}) is None
    assert "one by one" in caplog.text


def test_what_a_stream_tells_comes_back():
    layout = Saving(enabled=True, base_path="/data", filename_prefix="run", nx_entry_name="scan").layout()
    places = FramePlaces(uuid=UUID, endpoints=["tcp://a:1"], receivers=["a/b/c"], saved=saved_frames(layout))
    told = frame_places({FRAMES: places.model_dump(mode="json") | {"of_a_later_version": 1}})
    assert told == places
    assert told.saved.layout().receiver_file(2, 3) == layout.receiver_file(2, 3)
    assert told.saved.data_path == layout.data_path


@given(st.sets(st.integers(0, 60)), st.integers(1, 7))
def test_runs_are_all_places_in_order_without_gaps_inside(places, most):
    wanted = [(place, place * 2) for place in sorted(places)]
    found = list(runs(wanted, most))
    assert [each for run in found for each in run] == wanted
    for run in found:
        assert 1 <= len(run) <= most
        assert [place for place, _ in run] == list(range(run[0][0], run[0][0] + len(run)))
