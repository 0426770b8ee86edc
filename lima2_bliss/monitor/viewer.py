"""One page that is open: what it wants, and the loop that sends it news, never faster than it takes them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Protocol

from lima2_bliss.contract import Lima2Error
from lima2_bliss.contract.parameters.strict import parse
from lima2_bliss.monitor.charts import chart_names
from lima2_bliss.monitor.hub import Hub, Watched, scan_message
from lima2_bliss.monitor.messages import Follow, Request, ShowImage, ShowRegion

_log = logging.getLogger(__name__)

#: Time between two rounds of news, and between two of charts [s].
ROUND_S = 0.1
CHARTS_S = 0.3


class Connection(Protocol):
    """What a viewer needs of a web socket; each raises when the page is gone."""

    async def receive(self) -> str: ...
    async def send_text(self, text: str) -> None: ...
    async def send_bytes(self, data: bytes) -> None: ...


class Viewer:
    """Serves one page until it goes away."""

    def __init__(self, hub: Hub, connection: Connection) -> None:
        self._hub = hub
        self._connection = connection
        self._follow = Follow()
        self._image = ShowImage()
        self._region: ShowRegion | None = None
        self._scans = -1
        self._told: Any = None
        self._info: Any = None
        self._charts: dict[str, Any] = {}
        self._charts_turn = -1
        self._picture: Any = None
        self._trouble = ""

    async def serve(self) -> None:
        """Return when the connection ends; what ended it is raised.

        Rounds of all pages begin at the same times, so that what is made for one is new to the others too. A page that
        takes its messages slowly misses rounds.
        """
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(self._read())
        try:
            while not reading.done():
                turn = int(loop.time() / ROUND_S)
                await self._round()
                late = int(loop.time() / ROUND_S) > turn  # the next round is due already
                await asyncio.wait([reading], timeout=0.001 if late else ROUND_S - loop.time() % ROUND_S)
            await reading
        finally:
            reading.cancel()

    async def _read(self) -> None:
        while True:
            try:
                self._take(parse(Request, await self._connection.receive(), "the message"))
            except Lima2Error as error:
                await self._complain(str(error))

    def _take(self, request: Request) -> None:
        if request.follow is not None:
            self._follow = request.follow
            self._told = self._info = self._picture = None
            self._charts.clear()
        if request.image is not None:
            self._image, self._picture = request.image, None
        if request.region is not None:
            self._region = request.region

    async def _round(self) -> None:
        """Send what is new."""
        try:
            await self._send_scans()
            watched = await self._hub.look(self._follow)
            if watched is None:
                await self._send_nothing()
            else:
                await self._send_view(watched)
                await self._send_picture(watched)
                await self._send_charts(watched)
                await self._send_region(watched)
        except Lima2Error as error:
            await self._complain(self._hub.scans.trouble or str(error))
        else:
            if not self._hub.scans.trouble:
                await self._complain("")  # the page says again how the scan is

    async def _complain(self, text: str) -> None:
        """Tell of something that went wrong, once; without text: that nothing does any more."""
        if text != self._trouble:
            self._trouble = text
            await self._send({"type": "trouble", "text": text})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._connection.send_text(json.dumps(message, allow_nan=False))

    async def _send_scans(self) -> None:
        scans = self._hub.scans
        if scans.trouble:
            await self._complain(scans.trouble)
        if scans.revision != self._scans:
            self._scans = scans.revision
            known = [scan_message(scan) for scan in scans.summaries(self._follow.session)[:50]]
            await self._send({"type": "scans", "sessions": list(scans.sessions()), "scans": known})

    async def _send_nothing(self) -> None:
        if self._told != "nothing":
            self._told = "nothing"
            await self._send({"type": "view", "scan": None})

    async def _send_view(self, watched: Watched) -> None:
        revision, text = self._hub.view_text(watched)
        if self._told is not None and self._told[0] is not watched:
            self._info = self._picture = None
            self._charts.clear()
        if self._told != (watched, revision):
            self._told = (watched, revision)
            await self._connection.send_text(text)
        if self._info is not watched.view.info:
            self._info = watched.view.info
            await self._send({"type": "info", "info": self._info})

    async def _send_charts(self, watched: Watched) -> None:
        turn = int(asyncio.get_running_loop().time() / CHARTS_S + 0.01)
        if turn == self._charts_turn and self._charts:
            return
        self._charts_turn = turn
        for name in chart_names(watched.view):
            state, text = self._hub.chart_text(watched, name)
            if self._charts.get(name) != state:
                self._charts[name] = state
                await self._connection.send_text(text)

    async def _send_picture(self, watched: Watched) -> None:
        wanted = self._image
        if wanted.mode == "frame" and wanted.source == "frame" and self._picture is not None:
            return
        found = await self._hub.picture(watched, wanted)
        if found is not None and self._picture != found[0] and wanted is self._image:
            self._picture = found[0]
            await self._connection.send_bytes(found[1])

    async def _send_region(self, watched: Watched) -> None:
        wanted, self._region = self._region, None
        if wanted is not None:
            await self._connection.send_bytes(await self._hub.region(watched, wanted))
