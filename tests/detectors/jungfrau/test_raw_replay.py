"""A file of raw frames, played, gives what it was made of: pixels, masks and headers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from intake_rig import Rig, make_config, wait_for

from lima2_bliss.contract import FrameFlags, FrameMeta, ParameterError
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.detectors.jungfrau.intake import Arrived
from lima2_receivers.detectors.jungfrau.packets import HEADER
from lima2_receivers.detectors.jungfrau.raw_file import RawFile
from lima2_receivers.detectors.jungfrau.raw_frames import extras_of, raw_info
from lima2_receivers.detectors.jungfrau.wire import (
    Content,
    Exposure,
    Faults,
    Playing,
    WireLayout,
    WireSimulator,
    frame_datagrams,
    replay_raw,
)
from lima2_receivers.detectors.jungfrau.wire.catching import Catcher, receive
from lima2_receivers.detectors.jungfrau.wire.cli import main
from lima2_receivers.saving import make_writer

PIXELS = np.random.default_rng(6).integers(0, 65535, (4, 1, 512, 1024)).astype(np.uint16)


def save(path, frames: list[tuple[Arrived, np.ndarray | None]], modules=1, interfaces=1, **more) -> None:
    """What an intake gave, as the engine has it saved."""
    saving = Saving(enabled=True, base_path=str(path), filename_prefix="raw", nb_frames_per_file=1000, **more)
    writer = make_writer(saving, raw_info(modules, interfaces), 0, {}, safety_bytes=0)
    for frame, pixels in frames:
        flags = FrameFlags.LOST if pixels is None else FrameFlags.GOOD if frame.complete else FrameFlags.INCOMPLETE
        given = None if pixels is None else pixels.reshape(1, modules * 512, 1024)
        extras = None if frame.empty else extras_of(frame)
        writer.write(given, FrameMeta(frame.local, frame.local, frame.timestamp_ns, flags, extras=extras))
    writer.close()


def taken_in(rig: Rig, send, frames: int) -> list[tuple[Arrived, np.ndarray | None]]:
    with rig:
        if min(rig.intake.socket_buffers) < 4 << 20:
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        send([[("127.0.0.1", port) for port in rig.intake.ports]])
        wait_for(lambda: len(rig.frames) >= frames or rig.error is not None, f"{frames} frames")
    return rig.frames


@pytest.mark.parametrize("interfaces", [1, 2])
def test_sim_to_file_to_wire_to_intake_changes_nothing(tmp_path, interfaces):
    layout = WireLayout(interfaces=interfaces)
    config = make_config(1, interfaces, first_number=5, incomplete="pass", timeout_s=0.2)
    faults = Faults(seed=3, loss_rate=0.02)

    def simulate(to):
        with WireSimulator(layout, to, Content(PIXELS), faults=faults, next_frame_number=5) as simulator:
            simulator.start(6, 200.0)
            simulator.wait(10)

    first = taken_in(Rig(config, frames=6), simulate, 6)
    assert any(not frame.complete for frame, _ in first)
    save(tmp_path, first, interfaces=interfaces)
    with RawFile(tmp_path / "raw_0_00000.h5") as raw:
        reports = []
        again = taken_in(
            Rig(config, frames=6), lambda to: reports.append(replay_raw(raw, to, Playing(rate_hz=200.0))), 6
        )
    for (frame, pixels), (other, others) in zip(first, again, strict=True):
        assert (frame.number, frame.complete) == (other.number, other.complete)
        np.testing.assert_array_equal(frame.mask, other.mask)
        np.testing.assert_array_equal(frame.packets, other.packets)
        np.testing.assert_array_equal(pixels, others)
        for name in set(HEADER.names) - {"packet_number"}:  # which of the packets it is of may differ
            np.testing.assert_array_equal(frame.headers[name], other.headers[name])
    told = reports[0].to_dict()
    came = sum(int(frame.packets.sum()) for frame, _ in first)
    assert (told["frames"], told["holes"], told["datagrams"], told["missing"]) == (6, 0, came, 6 * 128 - came)
    assert (told["first_frame_number"], told["last_frame_number"]) == (5, 10)


def made(path, numbers, seen, layout=WireLayout(), spacing_ns=10_000_000, **more) -> None:
    """A file of frames with these numbers; those not in ``seen`` have no packets."""
    frames = []
    for local, number in enumerate(numbers):
        there = number in seen
        datagrams = frame_datagrams(replace(layout, order="ascending"), Content(PIXELS), Exposure(local % 4, number))
        headers = datagrams[:, 0, : HEADER.itemsize].copy().view(HEADER)[:, 0]
        packets = np.full(layout.ports, layout.packets if there else 0)
        mask = np.full((layout.ports, layout.packets // 8), 255 if there else 0, "u1")
        stamp = 1_700_000_000_000_000_000 + local * spacing_ns
        pixels = PIXELS[local % 4] if there else None
        frames.append((Arrived(local, number, there, packets, mask, headers, stamp), pixels))
    save(path, frames, interfaces=layout.interfaces, **more)


def caught_numbers(caught) -> list[list[int]]:
    """Frame numbers that each receiver got, once each, in order."""
    found = []
    for ports in caught:
        heads = [np.frombuffer(datagram[: HEADER.itemsize], HEADER)[0] for datagram in ports[0]]
        found.append(list(dict.fromkeys(int(head["frame_number"]) for head in heads)))
    return found


@pytest.fixture
def catchers():
    with Catcher(1) as first, Catcher(1) as second:
        if not first.room:
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        yield [first, second]


def test_frames_go_round_and_numbers_go_on(tmp_path, catchers):
    made(tmp_path, range(11, 15), {11, 12, 14})
    to = [catcher.addresses for catcher in catchers]
    with RawFile(tmp_path / "raw_0_00000.h5") as raw:
        report = replay_raw(raw, to, Playing(rate_hz=0.0, repeat=2)).to_dict()
        assert caught_numbers(receive(catchers, 6 * 128)) == [[11, 15], [12, 14, 16, 18]]
        assert (report["frames"], report["holes"], report["datagrams"]) == (6, 2, 6 * 128)
        assert [(port["frames"], port["datagrams"]) for port in report["ports"]] == [(2, 256), (4, 512)]
        replay_raw(raw, to, Playing(rate_hz=0.0, first=1, first_number=3, first_destination=1))
        assert caught_numbers(receive(catchers, 2 * 128)) == [[4], [3]]
        replay_raw(raw, to, Playing(rate_hz=0.0, first=1, frames=2))
        assert caught_numbers(receive(catchers, 128)) == [[12], []]


@pytest.mark.parametrize("order", ["centre_out", "descending"])
@pytest.mark.parametrize("method", ["sendmmsg", "segments"])
def test_packets_go_in_the_order_asked(tmp_path, catchers, order, method):
    made(tmp_path, [3], {3})
    with RawFile(tmp_path / "raw_0_00000.h5") as raw:
        replay_raw(raw, [catchers[0].addresses], Playing(rate_hz=0.0, order=order, method=method))
    (datagrams,) = receive(catchers[:1], 128)[0]
    packets = [int(np.frombuffer(each[: HEADER.itemsize], HEADER)[0]["packet_number"]) for each in datagrams]
    assert packets == WireLayout(order=order).packet_order(0).tolist()
    expected = frame_datagrams(WireLayout(order=order), Content(PIXELS), Exposure(0, 3))
    assert [datagram[HEADER.itemsize :] for datagram in datagrams] == [
        each[HEADER.itemsize :].tobytes() for each in expected[0]
    ]


def test_the_recorded_times_are_kept_and_a_replay_can_be_stopped(tmp_path):
    made(tmp_path, range(1, 5), {1, 2, 3, 4}, spacing_ns=20_000_000)
    nobody = [[("127.0.0.1", 9)]]
    with RawFile(tmp_path / "raw_0_00000.h5") as raw:
        assert replay_raw(raw, nobody, Playing(repeat=2)).duration_s >= 0.139
        asked = iter([False] * 3 + [True] * 2)
        assert replay_raw(raw, nobody, Playing(rate_hz=1e-3), stopped=asked.__next__).played <= 1


def test_the_command_plays_raw_frames(tmp_path, catchers, capsys):
    made(tmp_path, range(1, 4), {1, 2, 3})
    file = str(tmp_path / "raw_0_00000.h5")
    to = [f"{host}:{port}" for catcher in catchers for host, port in catcher.addresses]
    main(["--to", to[0], "--to", to[1], "--replay", file, "--from-frame", "1", "--rate", "0", "--json"])
    assert caught_numbers(receive(catchers, 256)) == [[2], [3]]
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["datagrams"], len(report["ports"])) == (2, 256, 2)
    main(["--to", to[0], "--replay", file, "--frames", "1", "--first-frame", "100", "--rate", "0"])
    assert caught_numbers(receive(catchers[:1], 128)) == [[100]]
    assert "receiver 0  module 0  interface 0  frames 1  datagrams 128" in capsys.readouterr().out


def test_what_cannot_be_played_is_refused(tmp_path):
    made(tmp_path, [1, 2], {1})
    with RawFile(tmp_path / "raw_0_00000.h5") as raw:
        with pytest.raises(ParameterError, match="no frame with packets from place 1 on, of 2"):
            replay_raw(raw, [[("127.0.0.1", 9)]], Playing(first=1))
        with pytest.raises(ParameterError, match="first_destination = 1: there are 1, from 0"):
            replay_raw(raw, [[("127.0.0.1", 9)]], Playing(first_destination=1))
        with pytest.raises(ParameterError, match="receiver 0 has 2 addresses"):
            replay_raw(raw, [[("127.0.0.1", 9)] * 2])
    with pytest.raises(ParameterError, match=r"repeat = 0: 1 or more; rate_hz = -1\.0: 0 or more"):
        Playing(repeat=0, rate_hz=-1.0)
