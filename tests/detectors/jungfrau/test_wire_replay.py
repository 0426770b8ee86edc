"""Recordings are played datagram by datagram, in their order."""

import json
import lzma

import numpy as np
import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.wire import (
    Content,
    Exposure,
    WireLayout,
    frame_datagrams,
    load_recording,
    replay,
)
from lima2_receivers.detectors.jungfrau.wire.catching import Catcher, receive
from lima2_receivers.detectors.jungfrau.wire.cli import main

INDEX = np.dtype([("offset", "<u8"), ("length", "<u4"), ("port", "<u2"), ("t_ns", "<u8")])


@pytest.fixture
def recorded(tmp_path):
    """Two frames of a module with two interfaces, and one cut datagram: the paths, and the datagrams by port."""
    layout = WireLayout(interfaces=2)
    pixels = np.random.default_rng(1).integers(0, 65536, (2, 1, 512, 1024)).astype(np.uint16)
    datagrams, index = [], []
    for number in range(2):
        frame = frame_datagrams(layout, Content(pixels), Exposure(number, 6 + number))
        for place in range(64):
            for port in (1, 0):
                datagrams.append(frame[port, place].tobytes())
                index.append((len(datagrams[-1]), 50001 + port, number * 30_000_000))
    datagrams.append(b"cut")
    index.append((3, 50001, 60_000_000))
    rows = np.zeros(len(index), INDEX)
    rows["length"], rows["port"], rows["t_ns"] = np.array(index).T
    rows["offset"] = np.cumsum(rows["length"]) - rows["length"]
    rows["t_ns"] += 1_700_000_000_000_000_000
    (tmp_path / "taken.bin.xz").write_bytes(lzma.compress(b"".join(datagrams), preset=0))
    np.save(tmp_path / "taken.index.npy", rows)
    (tmp_path / "taken.json").write_text(json.dumps({"packets": len(rows)}))
    by_port = [[d for d, row in zip(datagrams, rows, strict=True) if row["port"] == port] for port in (50001, 50002)]
    return tmp_path, by_port


@pytest.mark.parametrize("name", ["taken.json", "taken.bin.xz", "taken.index.npy", "taken.bin"])
def test_a_recording_is_found_by_any_of_its_names(recorded, name):
    recording = load_recording(recorded[0] / name)
    assert recording.ports == [50001, 50002]
    assert len(recording.index) == 257
    assert np.unique(recording.frame_numbers()).tolist() == [6, 7]
    assert recording.frame_numbers()[-1] == 7  # the cut one belongs to the frame before it


@pytest.mark.parametrize(("rate", "least_s"), [(None, 0.03), (0.0, 0.0), (100.0, 0.01)])
def test_what_arrives_is_what_was_recorded(recorded, rate, least_s):
    path, by_port = recorded
    with Catcher(2) as catcher:
        if not catcher.room:
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        report = replay(load_recording(path / "taken.json"), catcher.addresses, rate)
        (caught,) = receive([catcher], 257)
    assert caught == by_port
    assert report.frames == 2
    assert report.datagrams == {50001: 129, 50002: 128}
    assert report.duration_s >= least_s


def test_a_replay_can_be_stopped(recorded):
    recording = load_recording(recorded[0] / "taken.json")
    report = replay(recording, [("127.0.0.1", 9)] * 2, 1e-3, stopped=iter([False, False, True, True]).__next__)
    assert report.frames <= 1


def test_the_command_plays_a_recording(recorded, capsys):
    path, by_port = recorded
    with Catcher(2) as catcher:
        if not catcher.room:
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        to = ",".join(f"{host}:{port}" for host, port in catcher.addresses)
        main(["--to", to, "--replay", str(path / "taken.json"), "--json"])
        (caught,) = receive([catcher], 257)
    assert caught == by_port
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["datagrams"]) == (2, 257)


def test_recordings_that_are_not_whole_are_refused(recorded):
    path, _ = recorded
    with pytest.raises(ParameterError, match="beside it"):
        load_recording(path / "other.json")
    with pytest.raises(ParameterError, match="one address for each"):
        replay(load_recording(path / "taken.json"), [("127.0.0.1", 9)])
    data = lzma.decompress((path / "taken.bin.xz").read_bytes())
    (path / "taken.bin").write_bytes(data[:-1])
    with pytest.raises(ParameterError, match="the file is cut"):
        load_recording(path / "taken.json")
    np.save(path / "taken.index.npy", np.zeros(3))
    with pytest.raises(ParameterError, match="offset, length, port, t_ns"):
        load_recording(path / "taken.json")
    np.save(path / "taken.index.npy", np.zeros(0, INDEX))
    with pytest.raises(ParameterError, match="no datagrams"):
        load_recording(path / "taken.json")
    (path / "taken.bin").unlink()
    (path / "taken.bin.xz").write_bytes(b"not xz")
    with pytest.raises(ParameterError, match="cannot be read"):
        load_recording(path / "taken.json")
