"""Images of a whole detector: found on the right receiver, newest over all, from files when memory has let go."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import (
    ConnectionLostError,
    FrameFlags,
    NoLongerAvailableError,
    NotAvailableError,
    NotYetAvailableError,
    RoundRobin,
)
from lima2_bliss.contract.access import AttachJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.access import AccessServer, ImageSource, ReceiverReaders
from lima2_receivers.access.image_source import stacked
from lima2_receivers.access.saved_frames import read_saved_frame


class System:
    """Receivers of one detector, each with its server."""

    def __init__(self, make_receiver, count: int, block: int = 1, **options) -> None:
        self.dispatch = RoundRobin(count, block)
        self.pipelines = []
        self.servers = []
        for rank in range(count):
            receiver = make_receiver()
            self.pipelines.append(receiver.add("run", dispatch=self.dispatch, rank=rank, **options))
            self.servers.append(AccessServer(receiver, rank=rank, nb_receivers=count))

    def feed(self, total: int) -> None:
        for rank, pipeline in enumerate(self.pipelines):
            pipeline.feed(self.dispatch.count(rank, total) - pipeline.log.frames)

    def job(self, **options) -> AttachJob:
        return AttachJob(
            uuid="run", endpoints=[server.endpoint for server in self.servers], block=self.dispatch.block, **options
        )

    def close(self) -> None:
        for server in self.servers:
            server.close()


@pytest.fixture
def make_system(receiver):
    systems = []

    def make(count: int, **options) -> System:
        systems.append(System(type(receiver), count, **options))
        return systems[-1]

    yield make
    for system in systems:
        system.close()


@pytest.fixture
def readers():
    with ReceiverReaders(connect_s=0.2, timeout_s=2) as kept:
        yield kept


@pytest.mark.parametrize(("count", "block"), [(1, 1), (2, 1), (3, 1), (2, 4)])
def test_every_image_comes_from_the_receiver_that_has_it(make_system, readers, count, block):
    system = make_system(count, block=block, channels=2)
    system.feed(16)
    source = ImageSource(system.job(), readers)
    for index in [0, 15, 5, 9, 9, 4]:
        image = source.read(index)
        assert image.index == index
        assert image.pixels.shape == (2 * 64, 48)
        np.testing.assert_array_equal(image.pixels, stacked(system.pipelines[0].pixels_of(index)))


def test_the_newest_image_is_the_newest_of_all_receivers(make_system, readers):
    system = make_system(3)
    source = ImageSource(system.job(), readers)
    assert source.last_index() == -1
    with pytest.raises(NotYetAvailableError, match="not available yet"):
        source.read(-1)
    for total in [1, 2, 5, 6]:
        system.feed(total)
        assert source.read(-1).index == source.last_index() == total - 1


def test_many_viewers_of_the_newest_image_cost_one_transfer(make_system, readers):
    system = make_system(1)
    system.feed(3)
    source = ImageSource(system.job(), readers)
    assert source.read(-1) is source.read(-1)
    assert source.read(2) is source.read(-1)


def test_an_image_that_will_come_one_that_went_and_one_that_never_is(make_system, readers):
    system = make_system(2, depth=4)
    system.feed(20)
    source = ImageSource(system.job(nb_frames=30), readers)
    with pytest.raises(NotYetAvailableError, match="frame 25 is not available yet"):
        source.read(25)
    with pytest.raises(NoLongerAvailableError):
        source.read(1)
    for never in [30, 10**6, -2]:
        with pytest.raises(NotAvailableError, match="does not exist"):
            source.read(never)


def test_live_images_go_on_when_one_receiver_is_gone(make_system, readers, caplog):
    system = make_system(2)
    system.feed(4)
    source = ImageSource(system.job(), readers)
    assert source.read(-1).index == 3
    system.servers[1].close()
    with caplog.at_level(logging.WARNING):
        assert source.read(-1).index == 2
        assert source.read(-1).index == 2
    assert caplog.text.count(system.servers[1].endpoint) == 1
    with pytest.raises(ConnectionLostError, match=system.servers[1].endpoint):
        source.read(1)
    system.servers[0].close()
    with pytest.raises(ConnectionLostError, match=system.servers[0].endpoint):
        source.read(-1)


def write_file(saving: Saving, receiver: int, number: int, frames: np.ndarray, flags: list[int]) -> None:
    layout = saving.layout()
    with h5py.File(layout.receiver_file(receiver, number), "w") as file:
        file[layout.data_path] = frames
        file[layout.flags_path] = np.array(flags, "u4")


def test_an_image_that_left_memory_is_read_from_its_file(make_system, readers, tmp_path):
    system = make_system(2, depth=2)
    system.feed(12)
    pipeline = system.pipelines[0]
    saving = Saving(enabled=True, base_path=str(tmp_path), nb_frames_per_file=3)
    for receiver in range(2):
        indices = [system.dispatch.global_index(receiver, local) for local in range(3)]
        stack = np.stack([pipeline.pixels_of(index)[0] for index in indices])
        write_file(saving, receiver, 0, stack, [0, FrameFlags.LOST, 0])
    source = ImageSource(system.job(saving=saving), readers)
    for index in [0, 1, 4, 5]:
        np.testing.assert_array_equal(source.read(index).pixels, pipeline.pixels_of(index)[0])
    with pytest.raises(NoLongerAvailableError, match="LOST"):
        source.read(2)
    with pytest.raises(NoLongerAvailableError, match=r"00001\.h5"):
        source.read(6)
    system.close()
    np.testing.assert_array_equal(source.read(4).pixels, pipeline.pixels_of(4)[0])


@given(index=st.integers(0, 200), count=st.integers(1, 5), block=st.integers(1, 4), per_file=st.integers(1, 9))
def test_the_file_of_a_frame_is_the_one_the_layout_says(tmp_path_factory, index, count, block, per_file):
    folder = tmp_path_factory.mktemp("frames")
    saving = Saving(enabled=True, base_path=str(folder), nb_frames_per_file=per_file)
    dispatch = RoundRobin(count, block)
    receiver, local = dispatch.locate(index)
    frames = np.zeros((per_file, 2, 3, 4), "u2")
    frames[local % per_file] = index
    write_file(saving, receiver, local // per_file, frames, [0] * per_file)
    assert (read_saved_frame(saving, dispatch, index) == index).all()
    assert read_saved_frame(saving, dispatch, index).shape == (2, 3, 4)


def test_a_frame_that_was_not_to_be_saved_is_not_an_empty_image(tmp_path):
    saving = Saving(enabled=True, base_path=str(tmp_path))
    write_file(saving, 0, 0, np.zeros((2, 3, 4), "u2"), [0, FrameFlags.VETOED])
    assert read_saved_frame(saving, RoundRobin(), 0).shape == (1, 3, 4)
    with pytest.raises(NotAvailableError, match="VETOED"):
        read_saved_frame(saving, RoundRobin(), 1)
