"""Raw files give back frames, headers and datagrams as they came."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, NotAvailableError, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.detectors.jungfrau.packets import HEADER, MISSING_PIXEL
from lima2_receivers.detectors.jungfrau.raw_file import RawFile
from lima2_receivers.detectors.jungfrau.raw_frames import raw_info
from lima2_receivers.detectors.jungfrau.wire import Content, Exposure, WireLayout, frame_datagrams
from lima2_receivers.saving import make_writer, write_master

PIXELS = np.random.default_rng(5).integers(0, 65535, (3, 2, 512, 1024)).astype(np.uint16)


def sent(layout: WireLayout, number: int) -> np.ndarray:
    """Datagrams of a frame (ports, packets, 8240), packets ascending."""
    return frame_datagrams(
        layout, Content(PIXELS[:, : layout.modules]), Exposure(number % 3, number, ticks=number * 10)
    )


def taken(layout: WireLayout, datagrams: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What an intake makes of the datagrams that a mask (ports, packets) leaves: raw frame and extras."""
    headers = np.zeros(layout.ports, HEADER)
    for port, came in enumerate(mask):
        if came.any():
            headers[port] = datagrams[port, np.flatnonzero(came)[-1], : HEADER.itemsize].view(HEADER)[0]
    payload = np.where(mask[..., None], datagrams[..., HEADER.itemsize :].view("<u2"), MISSING_PIXEL)
    packed = np.packbits(mask, axis=-1, bitorder="little")
    extras = {"packet_headers": headers, "packet_mask": packed, "packets": mask.sum(axis=1).astype("u2")}
    return payload.reshape(1, layout.modules * 512, 1024), extras


def saving_in(directory: str | Path, **more) -> Saving:
    return Saving(enabled=True, base_path=str(directory), filename_prefix="raw", nb_frames_per_file=2, **more)


def write(saving: Saving, layout: WireLayout, frames, rank: int = 0) -> None:
    """Frames (index, pixels or None, extras or None, flags) to the files of a receiver."""
    writer = make_writer(saving, raw_info(layout.modules, layout.interfaces), rank, {}, safety_bytes=0)
    for local, (index, pixels, extras, flags) in enumerate(frames):
        writer.write(pixels, FrameMeta(index, local, 1000 + index, flags, extras=extras))
    writer.close()


@settings(max_examples=25, deadline=None)
@given(
    interfaces=st.sampled_from([1, 2]),
    modules=st.sampled_from([1, 2]),
    compression=st.sampled_from(["none", "bshuf_lz4", "gzip"]),
    lacking=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 127)), max_size=60),
    silent=st.sets(st.integers(0, 3), max_size=3),
)
def test_datagrams_become_a_frame_in_a_file_and_come_back(interfaces, modules, compression, lacking, silent):
    layout = WireLayout(1, modules, interfaces, "ascending")
    mask = np.ones((layout.ports, layout.packets), bool)
    for port, packet in lacking:
        mask[port % layout.ports, packet % layout.packets] = False
    mask[[port for port in silent if port < layout.ports]] = False
    datagrams = sent(layout, 41)
    pixels, extras = taken(layout, datagrams, mask)
    with tempfile.TemporaryDirectory() as directory:
        write(saving_in(directory, compression=compression), layout, [(0, pixels, extras, FrameFlags.GOOD)])
        with RawFile(Path(directory) / "raw_0_00000.h5") as raw:
            assert (raw.modules, raw.interfaces, raw.packets) == (modules, interfaces, layout.packets)
            np.testing.assert_array_equal(raw.mask(0), mask)
            np.testing.assert_array_equal(raw.headers(0), extras["packet_headers"])
            np.testing.assert_array_equal(raw.datagrams(0), datagrams[mask])
            assert raw.numbers.tolist() == [41 if mask.any() else -1]
            if mask.any():
                np.testing.assert_array_equal(raw.stack(0), pixels.reshape(modules, 512, 1024))


def test_a_complete_frame_in_a_file_is_the_payload_byte_for_byte(tmp_path):
    layout = WireLayout(1, 2, 2, "ascending")
    datagrams = sent(layout, 7)
    mask = np.ones((4, 64), bool)
    write(saving_in(tmp_path, compression="none"), layout, [(0, *taken(layout, datagrams, mask), FrameFlags.GOOD)])
    with h5py.File(tmp_path / "raw_0_00000.h5") as file:
        detector = file["entry_0000/instrument/detector"]
        assert detector["data"][0].tobytes() == datagrams[..., HEADER.itemsize :].tobytes()
        assert "UDP packets" in detector["data"].attrs["description"]
        assert "bit p % 8 of byte p // 8, p from 0 to 63" in detector["packet_mask"].attrs["description"]


def test_a_master_has_the_frames_of_all_receivers_and_places_for_those_that_are_not_there(tmp_path):
    layout, dispatch = WireLayout(order="ascending"), RoundRobin(2)
    whole = np.ones((1, 128), bool)
    for rank in range(2):
        frames = []
        for index in (dispatch.global_index(rank, local) for local in range(3)):
            pixels, extras = taken(layout, sent(layout, 10 + index), whole)
            vetoed, lost = index == 2, index == 3
            flags = FrameFlags.VETOED if vetoed else FrameFlags.LOST if lost else FrameFlags.GOOD
            frames.append((index, None if vetoed or lost else pixels, None if lost else extras, flags))
        write(saving_in(tmp_path), layout, frames, rank)
    job = MasterJob(saving=saving_in(tmp_path), counts=[3, 3], shape=(1, 512, 1024), dtype="<u2")
    with RawFile(write_master(job)) as raw:
        assert len(raw) == 6
        assert list(raw.seen()) == [0, 1, 4, 5]
        assert raw.numbers.tolist() == [10, 11, -1, -1, 14, 15]
        assert raw.flags.tolist() == [0, 0, FrameFlags.VETOED, FrameFlags.LOST, 0, 0]
        assert raw.frame_index is not None
        assert raw.frame_index.tolist() == list(range(6))
        assert raw.timestamps.tolist() == [1000, 1001, 1002, 1003, 1004, 1005]
        assert raw.stack(2) is raw.stack(3) is None
        assert raw.datagrams(3).shape == (0, 8240)
        np.testing.assert_array_equal(raw.datagrams(-1), sent(layout, 15)[0])
        with pytest.raises(IndexError):
            raw.stack(6)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(NotAvailableError, match="cannot be read as HDF5"):
        RawFile(tmp_path / "text.h5")
    writer = make_writer(saving_in(tmp_path), FrameInfo(1, 8, 8, np.dtype("u2")), 0, {}, safety_bytes=0)
    writer.write(np.zeros((1, 8, 8), "u2"), FrameMeta(0, 0))
    writer.close()
    with pytest.raises(NotAvailableError, match="no raw frames of a Jungfrau"):
        RawFile(tmp_path / "raw_0_00000.h5")
