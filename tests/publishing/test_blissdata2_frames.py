"""Many frames at once, from receivers' memory and receivers' files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import (
    DeviceTimeoutError,
    FrameFlags,
    FrameMeta,
    NoLongerAvailableError,
    NotAvailableError,
    RoundRobin,
)
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.publishing import frame_reader
from lima2_bliss.publishing.blissdata2_frames import BulkFrames, runs
from lima2_bliss.publishing.frame_places import FRAMES, FramePlaces, frame_places, saved_frames
from lima2_bliss.publishing.frame_reader import FrameReader
from lima2_bliss.publishing.lima_info import saved_files
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


# --- the reader of a scan's frames ------------------------------------------------------------------------------------


class Image:
    """An image stream of ``count`` frames, which gives none itself; it remembers what it was asked for."""

    def __init__(self, bench: Bench, reader: BulkFrames, count: int, sealed: bool = True) -> None:
        self.info = {
            "shape": list(reader.shape),
            "dtype": reader.dtype.name,
            "lima_info": {},
            FRAMES: reader.places.model_dump(mode="json"),
        }
        if reader.places.saved is not None:
            saved = saved_files(bench.saving.layout(), len(bench.receivers), 0)
            self.info["lima_info"] = saved | {"frame_per_acquisition": 0}
        self.count, self.sealed = count, sealed
        self.asked: list[int] = []

    def __len__(self) -> int:
        if self.count < 0:
            raise IndexError("Redis was trimmed")
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        self.asked.append(index)
        raise IndexError(index)

    def is_sealed(self) -> bool:
        return self.sealed


@pytest.fixture
def read(bench):
    """Makes the reader of an image stream of ``count`` frames."""
    opened = []

    def make(count: int, saved: bool = False, sealed: bool = True) -> FrameReader:
        opened.append(FrameReader("det", Image(bench, bench.reader(saved), count, sealed)))
        return opened[-1]

    yield make
    for reader in opened:
        reader.close()


def test_frames_come_many_at_once_in_order(bench, read, monkeypatch):
    monkeypatch.setattr(frame_reader, "AT_ONCE_BYTES", 3 * bench.expected([0]).nbytes)
    bench.feed(DEPTH)
    reader = read(DEPTH)
    for found, wanted in (
        (reader.frames(1, None, 5, False), range(1, DEPTH)),
        (reader.frames(0, 4, 5, False), range(4)),
        (reader.at([6, 1, 5, 0], 5), [6, 1, 5, 0]),
        (reader.at(np.array([3], "i8"), 5), [3]),
    ):
        pairs = list(found)
        assert [index for index, _ in pairs] == list(wanted)
        np.testing.assert_array_equal([image for _, image in pairs], bench.expected(wanted))
    assert reader._image.asked == []


def test_frames_that_are_nowhere_are_an_error_or_left_out(bench, read):
    total, kept = 2 * DEPTH * len(bench.receivers), DEPTH * len(bench.receivers)
    bench.feed(total)
    with pytest.raises(NoLongerAvailableError, match="was not saved"):
        next(read(total).frames(0, None, 5, False))
    found = [index for index, _ in read(total).frames(0, None, 5, True)]
    assert found == list(range(total - kept, total))


def test_a_frame_that_was_lost_is_told_from_a_dark_one(bench, read):
    bench.save(6, lost=4)
    with pytest.raises(NotAvailableError, match="frame 4 of det has no pixels"):
        list(read(6, saved=True).frames(0, None, 5, False))
    assert [index for index, _ in read(6, saved=True).at([5, 4, 3], 5, skip_missing=True)] == [5, 3]


@pytest.mark.parametrize("count", [0, -1])
def test_frames_of_a_scan_that_redis_has_trimmed_are_counted_in_files(bench, read, count):
    bench.save(7)
    reader = read(count, saved=True)
    assert reader.count() == 7
    np.testing.assert_array_equal([image for _, image in reader.frames(0, None, 5, False)], bench.expected(range(7)))
    np.testing.assert_array_equal(next(reader.at([6], 5))[1], bench.expected([6])[0])


def test_frames_to_come_are_waited_for_and_their_absence_is_told(bench, read):
    bench.feed(4)
    reader = read(4, sealed=False)
    frames = reader.frames(3, None, 0.2, False)
    assert next(frames)[0] == 3
    with pytest.raises(DeviceTimeoutError, match=r"frame 4 of det did not come within 0\.2 s"):
        next(frames)
    with pytest.raises(DeviceTimeoutError, match="frame 9"):
        next(reader.at([1, 9], 0.2))
    reader._image.sealed = True
    with pytest.raises(NotAvailableError, match="frame 9: 4 frames are published"):
        list(reader.at([1, 9], 0.2))
