"""The command `lima2-jungfrau-sim`."""

from __future__ import annotations

import argparse
import json
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_args

import numpy as np

from lima2_bliss.contract import DeviceTimeoutError, Lima2Error, ParameterError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.packets import FIRST_FRAME_NUMBER
from lima2_receivers.detectors.jungfrau.raw_file import RawFile
from lima2_receivers.detectors.jungfrau.wire.content import (
    PHOTON_KEV,
    Content,
    bragg_images,
    bragg_parameters,
    dark_content,
    pattern_content,
    photon_content,
)
from lima2_receivers.detectors.jungfrau.wire.faults import Faults
from lima2_receivers.detectors.jungfrau.wire.layout import Order, WireLayout, parse_addresses
from lima2_receivers.detectors.jungfrau.wire.pixels import typical_sensor
from lima2_receivers.detectors.jungfrau.wire.raw_replay import Playing, replay_raw
from lima2_receivers.detectors.jungfrau.wire.replay import load_recording, replay
from lima2_receivers.detectors.jungfrau.wire.sender import Method
from lima2_receivers.detectors.jungfrau.wire.simulator import WireSimulator

NAME = "lima2-jungfrau-sim"

DESCRIPTION = """\
Send the datagrams of a simulated PSI Jungfrau, or play recorded ones. One --to for each receiver; consecutive frames go
to consecutive receivers:

  lima2-jungfrau-sim --to 127.0.0.1:50001+ --frames 1000 --rate 500
  lima2-jungfrau-sim --modules 2x4 --interfaces 2 --to hostA:50001+ --to hostB:50001+ --pattern bragg
  lima2-jungfrau-sim --to 127.0.0.1:50001,127.0.0.1:50002 --replay recorded.json
  lima2-jungfrau-sim --to 127.0.0.1:50001+ --replay scan_raw_frame_master.h5 --rate 500 --repeat 10
"""

#: How often it is looked whether a signal came [s].
_LOOK_S = 0.2
#: Standard deviations [ADU] of the read-out noise of the stages, with --noise.
_NOISE_ADU = (10.0, 5.0, 5.0)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `lima2-jungfrau-sim`: errors as one line, exit code 2. A signal ends it after the frame."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        with _stop_signals() as stopped:
            report = _replay(given, stopped) if given.replay else _simulate(given, stopped)
    except (Lima2Error, OSError) as error:
        parser.error(str(error))
    print(json.dumps(report) if given.json else _table(report), flush=True)


def _parser() -> OneLineParser:
    parser = OneLineParser(NAME, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--to", metavar="ADDRESSES", action="append", required=True,
        help="where the ports send to, module by module: HOST:PORT,HOST:PORT,... or HOST:PORT+ to count up",
    )  # fmt: skip
    add("--frames", metavar="N", type=_count, default=0, help="how many; default: until SIGINT or SIGTERM, or all")
    add("--rate", metavar="HZ", type=float, help="frames per second; default: flat out, or the times of the recording")
    add("--modules", metavar="XxY", default="1x1", help="grid of modules, e.g. 2x4; default: %(default)s")
    add("--module-ids", metavar="ID,ID,...", default="", help="ids of the modules; default: 1234, 1235, ...")
    add("--interfaces", type=int, choices=(1, 2), default=1, help="ports of each module; default: %(default)s")
    add("--order", choices=get_args(Order), default="centre_out", help="of packets; default: %(default)s")
    add(
        "--pattern", metavar="KIND", default="documented",
        help="documented (that of PSI's virtual detector), bragg, dark, or a .npy file of photon counts (n, y, x)",
    )  # fmt: skip
    add("--slots", metavar="N", type=_count, default=8, help="different frames of bragg and dark; default: %(default)s")
    add("--seed", metavar="N", type=_count, default=1, help="of bragg and noise; default: %(default)s")
    add("--photon-kev", type=float, default=PHOTON_KEV, help="energy of the photons; default: %(default)s")
    add("--noise", action="store_true", help="read-out noise in bragg, dark and photon frames")
    add("--high-gain", action="store_true", help="HG0 instead of G0")
    add("--stage", type=int, choices=(0, 1, 2), help="stay in this gain stage; default: switch by the charge")
    add("--stamp", action="store_true", help="the first four pixels of each packet become its frame number")
    add("--exposure", metavar="S", type=float, default=10e-6, help="in the headers; default: %(default)s")
    add(
        "--first-frame", metavar="N", type=_count,
        help="its number; default: 1, or the recorded numbers. In a replay frames are then numbered one by one, and "
        "those that no packet came of are left out",
    )  # fmt: skip
    add("--first-destination", metavar="N", type=int, default=0, help="receiver of the first frame, from 0")
    add("--faults", metavar="JSON", help="faults to inject, as JSON or @FILE; see the reference")
    add("--method", choices=get_args(Method), default="auto", help="how to send; default: %(default)s")
    add(
        "--replay", metavar="FILE",
        help="play this file: raw frames (.h5), or a recording: .json, .bin or .bin.xz, with its .index.npy",
    )  # fmt: skip
    add("--from-frame", metavar="N", type=_count, default=0, help="of raw frames: begin at this place of the file")
    add("--repeat", metavar="N", type=_count, default=1, help="of raw frames: play them so often, numbers going on")
    add("--json", action="store_true", help="print the report as JSON")
    return parser


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, in place of what they do otherwise (in a main thread)."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _simulate(given: argparse.Namespace, stopped: threading.Event) -> dict[str, Any]:
    layout = _layout(given)
    destinations = [parse_addresses(text, layout.ports) for text in given.to]
    faults = parse(Faults, _text(given.faults), "faults") if given.faults else Faults()
    with WireSimulator(
        layout,
        destinations,
        _content(given, layout),
        faults=faults,
        method=given.method,
        exposure_s=given.exposure,
        next_frame_number=FIRST_FRAME_NUMBER if given.first_frame is None else given.first_frame,
    ) as simulator:
        simulator.start(given.frames, given.rate or 0.0, first_destination=given.first_destination)
        while not stopped.is_set():
            try:
                return simulator.wait(_LOOK_S).to_dict()
            except DeviceTimeoutError:
                continue
        return simulator.stop().to_dict()


def _replay(given: argparse.Namespace, stopped: threading.Event) -> dict[str, Any]:
    if given.replay.endswith((".h5", ".hdf5")):
        return _replay_raw(given, stopped)
    refused = [name for name in ("frames", "from_frame", "repeat", "first_frame") if getattr(given, name) != _ALL[name]]
    if refused:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
        raise ParameterError(f"{options}: only for raw frames (.h5); a recording of datagrams is played as it is, once")
    recording = load_recording(given.replay)
    ports = len(recording.ports)
    addresses = [parse_addresses(text, ports) for text in given.to]
    flat = [address for receiver in addresses for address in receiver]
    return replay(recording, flat, given.rate, method=given.method, stopped=stopped.is_set).to_dict()


def _replay_raw(given: argparse.Namespace, stopped: threading.Event) -> dict[str, Any]:
    playing = Playing(
        first=given.from_frame,
        frames=given.frames,
        repeat=given.repeat,
        rate_hz=given.rate,
        order=given.order,
        first_number=given.first_frame,
        first_destination=given.first_destination,
        method=given.method,
    )
    with RawFile(given.replay) as raw:
        destinations = [parse_addresses(text, raw.ports) for text in given.to]
        return replay_raw(raw, destinations, playing, stopped=stopped.is_set).to_dict()


def _layout(given: argparse.Namespace) -> WireLayout:
    grid = re.fullmatch(r"(\d+)x(\d+)", given.modules)
    if not grid:
        raise ParameterError(f"--modules {given.modules}: write columns x rows, e.g. 2x4")
    if given.module_ids and not re.fullmatch(r"\d+(,\d+)*", given.module_ids):
        raise ParameterError(f"--module-ids {given.module_ids}: write numbers, e.g. 101,102")
    ids = tuple(int(number) for number in given.module_ids.split(",")) if given.module_ids else ()
    return WireLayout(int(grid[1]), int(grid[2]), given.interfaces, given.order, ids)


def _content(given: argparse.Namespace, layout: WireLayout) -> Content:
    if given.pattern == "documented":
        return pattern_content(layout, given.stamp)
    noise = _NOISE_ADU if given.noise else (0.0, 0.0, 0.0)
    sensor = typical_sensor(given.high_gain, given.stage, noise_adu=noise)
    if given.pattern == "dark":
        return dark_content(layout, sensor, given.slots, stamp=given.stamp, seed=given.seed)
    if given.pattern == "bragg":
        images = bragg_images(bragg_parameters(layout, given.slots, given.seed))
        return photon_content(
            images, layout, sensor, given.photon_kev, wide_edges=True, stamp=given.stamp, seed=given.seed
        )
    if not given.pattern.endswith(".npy"):
        raise ParameterError(f"--pattern {given.pattern}: documented, bragg, dark, or a .npy file of photon counts")
    try:
        images = np.load(given.pattern, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ParameterError(f"{given.pattern} cannot be read: {error}") from error
    if images.ndim not in (2, 3) or images.dtype.kind not in "uif":
        raise ParameterError(f"{given.pattern} holds {images.dtype} of shape {images.shape}; numbers (n, y, x) needed")
    images = images[None] if images.ndim == 2 else images
    return photon_content(images, layout, sensor, given.photon_kev, stamp=given.stamp, seed=given.seed)


def _count(text: str) -> int:
    """A number from 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 0 is needed")
    return int(text)


def _text(given: str) -> str:
    return Path(given[1:]).read_text() if given.startswith("@") else given


def _table(report: dict[str, Any]) -> str:
    """The report for people: its values, then what is not 0 of every port."""
    lines = [f"{name:20s} {value}" for name, value in report.items() if not isinstance(value, dict | list)]
    for port in [report.get("total", {}), *report["ports"]]:
        if port:
            lines.append("  ".join(f"{name} {value}" for name, value in port.items() if value or name in _PLACES))
    return "\n".join(lines)


#: Options that play all of a file, once, as it is.
_ALL = {"frames": 0, "from_frame": 0, "repeat": 1, "first_frame": None}
_PLACES = ("receiver", "module", "interface", "port")

if __name__ == "__main__":
    main()
