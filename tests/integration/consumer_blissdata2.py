"""Reads every stream of a detector with blissdata 2 alone, and prints what it read as JSON.

    consumer_blissdata2.py finished KEY DETECTOR    the scan of that key, which has ended
    consumer_blissdata2.py follow DETECTOR          the next scan, while it runs; prints "ready" when it waits for it
    consumer_blissdata2.py images KEY DETECTOR      images: whole, in steps, by views; with the time that they took
    consumer_blissdata2.py trim KEY DETECTOR        trim the image stream as the memory tracker does, then `images`
    consumer_blissdata2.py late DETECTOR            of the next scan, images 5 to 24 when there are 80

With ``--plugin`` first, images are read with the plugin of this package.
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
from blissdata import DataStore, ScanState
from blissdata.beacon.data import BeaconData
from blissdata.exceptions import EndOfStream, NoScanAvailable
from blissdata.streams import CursorGroup

assert hdf5plugin.FILTERS  # imported for its filters
TIMEOUT_S = 60.0
#: redis-py 8 gives up a read after 5 s, so one wait is shorter, and repeated.
WAIT_S = 1.0


def plain(points: Any) -> list[Any]:
    """Numbers as they are, arrays as checksums."""
    return [checksum(point) if np.ndim(point) else np.asarray(point).item() for point in points]


def checksum(array: Any) -> int:
    """Of an array's pixels."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def described(stream: Any) -> dict[str, Any]:
    """What a stream says of itself."""
    return {
        "kind": stream.kind,
        "plugin": stream.plugin,
        "dtype": np.dtype(stream.dtype).name,
        "shape": list(stream.shape),
    }


def read_finished(streams: dict[str, Any]) -> dict[str, Any]:
    """Every stream: whole by a slice, and one by one by index."""
    read = {}
    for name, stream in streams.items():
        whole, count = plain(stream[:]), len(stream)
        read[name] = {
            **described(stream),
            "points": whole,
            "by_index": [plain([stream[index]])[0] for index in range(count)],
            "middle": plain(stream[count // 3 : count // 2]),
            "last": plain([stream[-1]])[0] if count else None,
            "sealed": stream.is_sealed(),
        }
    return read


def follow(streams: dict[str, Any]) -> dict[str, Any]:
    """Every stream by cursors, batch by batch, until all have ended."""
    read = {name: {**described(stream), "points": [], "firsts": []} for name, stream in streams.items()}
    cursors = CursorGroup(list(streams.values()))
    names = {stream.key: name for name, stream in streams.items()}
    live, news = [], time.monotonic()
    while True:
        try:
            views = cursors.read(timeout=WAIT_S)
        except EndOfStream:
            return {"streams": read, "live": live}
        if views:
            news = time.monotonic()
        elif time.monotonic() - news > TIMEOUT_S:  # nothing new alone is fine: a file was completed, say
            raise TimeoutError(f"nothing came for {TIMEOUT_S} s")
        for stream, view in views.items():
            points = read[names[stream.key]]
            points["firsts"].append(view.index)
            points["points"] += plain(view.get_data())
            if stream.plugin == "lima":
                image = stream.get_last_live_image()
                live.append([image.frame_id, checksum(image.array)])


def trim(store: DataStore, stream: Any) -> None:
    """What the memory tracker leaves of a stream that has ended: its end."""
    (last,) = store._redis.xrevrange(stream.key, count=1)
    store._redis.xtrim(stream.key, minid=last[0], approximate=False)


def read_images(stream: Any) -> dict[str, Any]:
    """Images by slices, by index and by a cursor's view, and the seconds that slice and index took."""
    begun = time.monotonic()
    whole = stream[:]
    sliced = time.monotonic()
    single = [stream[index] for index in range(len(whole))]
    done = time.monotonic()
    view = stream.cursor().read(timeout=WAIT_S)
    return {
        "class": type(stream).__name__,
        "points": plain(whole),
        "dtype": whole.dtype.name,
        "by_index": plain(single),
        "by_view": plain(view),
        "steps": plain(stream[3:40:7]),
        "backwards": plain(stream[12:4:-1]),
        "from_the_end": plain(stream[-3:]),
        "empty": list(stream[7:7].shape),
        "sliced_s": sliced - begun,
        "single_s": done - sliced,
    }


def read_late(stream: Any) -> dict[str, Any]:
    """Images of long ago, while the scan runs."""
    cursor = stream.cursor()
    while (view := cursor.read(timeout=WAIT_S)) is None or view.last_index < 80:
        pass
    return {"points": plain(stream[5:25]), "ended": stream.is_sealed()}


def of_detector(scan: Any, detector: str) -> dict[str, Any]:
    """The streams of a detector by their short names."""
    return {name.partition(":")[2]: s for name, s in scan.streams.items() if name.startswith(f"{detector}:")}


def next_scan(store: DataStore, since: str) -> str:
    """Key of the first scan after ``since``."""
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        try:
            return str(store.get_next_scan(since=since, timeout=WAIT_S)[1])
        except NoScanAvailable:
            continue
    raise TimeoutError(f"no scan began within {TIMEOUT_S} s")


def main(mode: str, *arguments: str) -> None:
    """Read and print."""
    store = DataStore(BeaconData().get_redis_data_db())
    if mode == "finished":
        key, detector = arguments
        read: dict[str, Any] = {"streams": read_finished(of_detector(store.load_scan(key), detector))}
    elif mode in ("images", "trim"):
        key, detector = arguments
        if mode == "trim":
            trim(store, of_detector(store.load_scan(key), detector)["image"])
        read = read_images(of_detector(store.load_scan(key), detector)["image"])
    else:
        (detector,) = arguments
        since = store.get_last_scan_timetag()
        print("ready", flush=True)
        key = next_scan(store, since)
        scan = store.load_scan(key)
        while scan.state < ScanState.STARTED:
            scan.update(timeout=WAIT_S)
        if mode == "late":
            read = read_late(of_detector(scan, detector)["image"])
        else:
            read = {"state": scan.state.name, **follow(of_detector(scan, detector))}
        while scan.state < ScanState.CLOSED:
            scan.update(timeout=WAIT_S)
    read |= {"version": importlib.metadata.version("blissdata"), "key": key}
    print(json.dumps(read))


if __name__ == "__main__":
    if sys.argv[1] == "--plugin":
        from lima2_bliss.publishing import blissdata2

        blissdata2.enable()
        del sys.argv[1]
    main(*sys.argv[1:])
