"""Viewers of the online monitor, as many as asked for, with plain web sockets: what comes, how often, and how late.

Prints "ready" when all are connected; at the end of its input, prints one JSON line. Every picture is decoded to its
array before its age is taken: seconds since the last byte of its frame.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
from websockets.asyncio.client import connect


class Viewer:
    """One page: counts messages by type, notes the age of each new frame."""

    def __init__(self, address: str, max_px: int) -> None:
        self._address = address
        self._max_px = max_px
        self.connected = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.ages: list[float] = []
        self.images: list[float] = []
        self.troubles: list[str] = []

    async def run(self) -> None:
        address = self._address.rstrip("/").replace("http", "ws") + "/ws"
        async with connect(address, max_size=None, compression=None, proxy=None, open_timeout=30) as socket:
            await socket.send(json.dumps({"image": {"mode": "newest", "max_px": self._max_px}}))
            async for message in socket:
                self._take(message)
                self.connected.set()

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, str):
            content = json.loads(message)
            self.counts[content["type"]] += 1
            if content["type"] == "trouble":
                self.troubles.append(content["text"])
            return
        length = int.from_bytes(message[:4], "little")
        header = json.loads(message[4 : 4 + length])
        pixels = np.frombuffer(message, header["dtype"], offset=-(-(4 + length) // 8) * 8).reshape(header["shape"])
        float(pixels[-1, -1])
        self.counts[header["type"]] += 1
        self.images.append(time.time())
        if header["taken"] is not None:
            self.ages.append(time.time() - header["taken"])


async def watch(address: str, number: int, max_px: int) -> list[dict[str, Any]]:
    """Look until the input ends."""
    viewers = [Viewer(address, max_px) for _ in range(number)]
    tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
    for viewer, task in zip(viewers, tasks, strict=True):
        connected = asyncio.create_task(viewer.connected.wait())
        await asyncio.wait([connected, task], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    broken = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not broken, "the monitor has closed the connection of a viewer"
    return [
        {"counts": viewer.counts, "ages": viewer.ages, "images": viewer.images, "troubles": viewer.troubles}
        for viewer in viewers
    ]


def main() -> None:
    address, number, max_px = sys.argv[1:]
    print(json.dumps(asyncio.run(watch(address, int(number), int(max_px)))), flush=True)


if __name__ == "__main__":
    main()
