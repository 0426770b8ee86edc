"""Sends good datagrams of one module as fast as asked: python _jungfrau_flood.py PORT FIRST FRAMES RATE.

RATE in frames/s, 0: flat out. The kernel cuts each message into several datagrams where it can (UDP_SEGMENT). Prints
the rate that was reached.
"""

from __future__ import annotations

import socket
import sys
import time

import numpy as np

from lima2_receivers.detectors.jungfrau import packets as p

SOL_UDP, UDP_SEGMENT = 17, 103
SEGMENTS = 7
#: Closer to a deadline than this, wait awake [s].
SPIN_S = 100e-6


class Flood:
    """One module's datagrams for ``port`` on this host, ascending packets."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._per_message = SEGMENTS
        try:
            self._socket.setsockopt(SOL_UDP, UDP_SEGMENT, p.DATAGRAM_BYTES)
        except OSError:
            self._per_message = 1
        layout = np.dtype([("header", p.HEADER), ("pixels", "<u2", p.PACKET_PIXELS)])
        self._frame = np.zeros(p.PACKETS_PER_MODULE, layout)
        self._frame["header"]["packet_number"] = np.arange(p.PACKETS_PER_MODULE)
        self._frame["header"]["detector_type"] = p.DETECTOR_TYPE
        self._frame["header"]["version"] = p.HEADER_VERSION
        view = memoryview(self._frame.view("u1"))
        step = self._per_message * p.DATAGRAM_BYTES
        self._messages = [view[begin : begin + step] for begin in range(0, len(view), step)]

    def frame(self, number: int, begin_s: float = 0.0, period_s: float = 0.0) -> None:
        """One frame, spread over its period."""
        self._frame["header"]["frame_number"] = number
        step = period_s / len(self._messages)
        for place, message in enumerate(self._messages):
            if period_s:
                wait_until(begin_s + place * step)
            self._socket.send(message)

    def run(self, first: int, frames: int, rate: float) -> float:
        """Frames at ``rate``; the rate reached [1/s]."""
        period, began = (1 / rate if rate else 0.0), time.perf_counter()
        for count in range(frames):
            self.frame(first + count, began + count * period, period)
        return frames / (time.perf_counter() - began)


def wait_until(moment: float) -> None:
    """Until the performance counter says so."""
    while (left := moment - time.perf_counter()) > 0:
        if left > SPIN_S:
            time.sleep(left - SPIN_S)


if __name__ == "__main__":
    port, first, frames, rate = sys.argv[1:]
    print(Flood(int(port)).run(int(first), int(frames), float(rate)))
