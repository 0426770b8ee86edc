"""Reads a scan with hits by `DetectorData`, with whichever blissdata there is, and prints what it read as JSON.

consumer_readers.py follow DETECTOR       the next scan, while it runs: the frames of its hits, as they come; on the
                                          way its connections to Redis are cut
consumer_readers.py trimmed KEY DETECTOR  the scan of that key, of which Redis keeps only the ends of the streams
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import zlib
from typing import Any

import numpy as np
import redis
from blissdata.beacon.data import BeaconData
from blissdata.redis_engine.scan import ScanState
from blissdata.redis_engine.store import DataStore

from lima2_bliss.publishing.readers import DetectorData

TIMEOUT_S = 60.0
WAIT_S = 1.0


def checksum(image: np.ndarray) -> int:
    """Of an image's pixels."""
    return zlib.crc32(np.ascontiguousarray(image).tobytes())


def cut(store: DataStore) -> int:
    """Have Redis close the connections of this process; how many there were."""
    ids = []
    for connection in list(store._redis.connection_pool._available_connections):
        connection.send_command("CLIENT", "ID")
        ids.append(connection.read_response())
    other = DataStore(BeaconData().get_redis_data_db())
    return sum(other._redis.client_kill_filter(_id=number) for number in ids)


def next_scan(store: DataStore, since: str) -> str:
    """Key of the first scan after ``since``."""
    while True:
        try:
            return str(store.get_next_scan(since=since, timeout=WAIT_S)[1])
        except Exception as error:  # its class has another place in each version
            if type(error).__name__ != "NoScanAvailable":
                raise


def follow(store: DataStore, key: str, detector: str) -> dict[str, Any]:
    """Frames of hits as they come; after a cut it begins anew and goes on where it was."""
    frames: list[list[int]] = []
    cuts = restarts = 0
    while True:
        scan = store.load_scan(key)
        while scan.state < ScanState.STARTED:
            scan.update(timeout=WAIT_S)
        done = frames[-1][0] if frames else -1
        try:
            with DetectorData(scan, detector) as data:
                for index, image in data.follow_hit_frames(TIMEOUT_S):
                    if index <= done:
                        continue
                    frames.append([index, checksum(image)])
                    if len(frames) == 5:
                        cuts = cut(store)
                return {"frames": frames, "cuts": cuts, "restarts": restarts}
        except (redis.ConnectionError, redis.TimeoutError):
            restarts += 1
            store = DataStore(BeaconData().get_redis_data_db())


def trim(store: DataStore, streams: dict[str, Any]) -> None:
    """What the memory tracker leaves of streams that have ended: their ends."""
    for stream in streams.values():
        last = store._redis.xrevrange(stream.key, count=1)
        if last:
            store._redis.xtrim(stream.key, minid=last[0][0], approximate=False)


def read_trimmed(store: DataStore, key: str, detector: str) -> dict[str, Any]:
    """All that a reader gives, after the streams were trimmed."""
    with DetectorData(store.load_scan(key), detector) as data:
        hits = data.hits()
        wanted = hits["frame"][hits["is_hit"] > 0]
        spots = data.spots()
        return {
            "hits": wanted.tolist(),
            "frames": [[index, checksum(image)] for index, image in data.frames()],
            "of_hits": [[index, checksum(image)] for index, image in data.frames_at(wanted[::-1])],
            "one": checksum(data.frame(3)),
            "nb_peaks": data["nb_peaks"].tolist(),
            "spots": len(spots.table),
            "followed": [
                count for batch in data.follow(["nb_peaks", "is_hit"]) for count in batch["nb_peaks"].tolist()
            ],
        }


def main(mode: str, *arguments: str) -> None:
    """Read and print."""
    store = DataStore(BeaconData().get_redis_data_db())
    if mode == "trimmed":
        key, detector = arguments
        trim(store, {name: s for name, s in streams(store, key).items() if name.startswith(f"{detector}:")})
        read = read_trimmed(store, key, detector)
    else:
        (detector,) = arguments
        since = store.get_last_scan_timetag()
        print("ready", flush=True)
        key = next_scan(store, since)
        read = follow(store, key, detector)
    read |= {"version": importlib.metadata.version("blissdata"), "key": key}
    print(json.dumps(read))


def streams(store: DataStore, key: str) -> dict[str, Any]:
    """Streams of a scan as they are in Redis: `key` is that of the Redis stream."""
    found = {}
    for name, stream in store.load_scan(key).streams.items():
        inside = stream
        while not hasattr(inside, "key"):
            inside = next(
                each
                for each in (getattr(inside, other, None) for other in ("_json_stream", "_stream", "_event_stream"))
                if each is not None
            )
        found[name] = inside
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
