"""Reads every stream of a detector with blissdata 1.1 alone, and prints what it read as JSON.

    consumer_blissdata1.py finished KEY DETECTOR    the scan of that key, which has ended
    consumer_blissdata1.py follow DETECTOR          the next scan, while it runs; prints "ready" when it waits for it

Arrays are given as the checksum of each point (of each image, spectrum, ...), numbers as they are.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
import zlib
from typing import Any

import hdf5plugin
import numpy as np
from blissdata.beacon.data import BeaconData
from blissdata.redis_engine.exceptions import EndOfStream
from blissdata.redis_engine.scan import ScanState
from blissdata.redis_engine.store import DataStore
from blissdata.stream import LimaStream

assert hdf5plugin.FILTERS  # imported for its filters
TIMEOUT_S = 60.0


def plain(points: Any) -> list[Any]:
    """Numbers as they are, arrays as checksums."""
    return [zlib.crc32(np.ascontiguousarray(p).tobytes()) if np.ndim(p) else np.asarray(p).item() for p in points]


def read_finished(streams: dict[str, Any]) -> dict[str, Any]:
    """Every stream: whole by a slice, and one by one by index."""
    read = {}
    for name, stream in streams.items():
        count = len(stream)
        read[name] = {
            "points": plain(stream[0:count]),
            "by_index": [plain([stream[index]])[0] for index in range(count)],
            "middle": plain(stream[count // 3 : count // 2]),
            "last": plain([stream[-1]])[0] if count else None,
            "sealed": stream.is_sealed(),
        }
    return read


def follow(streams: dict[str, Any]) -> dict[str, Any]:
    """Every stream by its cursor, batch by batch, until all have ended."""
    read: dict[str, Any] = {name: {"points": [], "firsts": []} for name in streams}
    cursors = {name: stream.cursor() for name, stream in streams.items()}
    news = time.monotonic()
    while cursors:
        for name, cursor in list(cursors.items()):
            image = isinstance(streams[name], LimaStream)
            try:
                answer = cursor.read(timeout=0.02, count=1 if image else 0)
            except EndOfStream:
                del cursors[name]
                continue
            first, points = answer if len(answer) == 2 else (0, answer)  # an image cursor without news gives no pair
            if len(points):
                read[name]["firsts"].append(first)
                read[name]["points"] += plain(points)
                news = time.monotonic()
        if time.monotonic() - news > TIMEOUT_S:
            raise TimeoutError(f"nothing came for {TIMEOUT_S} s")
    return {"streams": read}


def of_detector(scan: Any, detector: str) -> dict[str, Any]:
    """The streams of a detector by their short names."""
    return {name.partition(":")[2]: s for name, s in scan.streams.items() if name.startswith(f"{detector}:")}


def main(mode: str, *arguments: str) -> None:
    """Read and print."""
    store = DataStore(BeaconData().get_redis_data_db())
    if mode == "finished":
        key, detector = arguments
        read = {"streams": read_finished(of_detector(store.load_scan(key), detector))}
    else:
        (detector,) = arguments
        since = store.get_last_scan_timetag()
        print("ready", flush=True)
        _, key = store.get_next_scan(since=since, timeout=TIMEOUT_S)
        scan = store.load_scan(key)
        while scan.state < ScanState.STARTED:
            scan.update(timeout=TIMEOUT_S)
        read = {"state": scan.state.name, **follow(of_detector(scan, detector))}
    read |= {"version": importlib.metadata.version("blissdata"), "key": key}
    print(json.dumps(read))


if __name__ == "__main__":
    main(*sys.argv[1:])
