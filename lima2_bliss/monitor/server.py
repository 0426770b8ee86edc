"""The web server of the monitor: the page, its parts, pictures and tables to download, the web socket."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from lima2_bliss.contract import Lima2Error, NotAvailableError, ParameterError
from lima2_bliss.monitor.admission import Admission
from lima2_bliss.monitor.charts import chart_csv, table_csv
from lima2_bliss.monitor.hub import Hub, Watched, scan_message
from lima2_bliss.monitor.messages import ShowImage
from lima2_bliss.monitor.png import COLOUR_MAPS, SCALES, png
from lima2_bliss.monitor.viewer import Viewer

_log = logging.getLogger(__name__)

#: Pages open at a time.
MOST_VIEWERS = 64
_STATIC = Path(__file__).with_name("static")
_SAFE = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

Endpoint = Callable[[Request], Awaitable[Response]]


def plotly_file() -> Path:
    """The script of the charts, from the installed package plotly."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


class _Socket:
    """A web socket as a viewer sees it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.receive = socket.receive_text
        self.send_text = socket.send_text
        self.send_bytes = socket.send_bytes


def _plainly(endpoint: Endpoint) -> Endpoint:
    """Errors as one line of text with a status of their own."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ParameterError as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        except NotAvailableError as error:
            return PlainTextResponse(f"{error}\n", status_code=404)
        except Lima2Error as error:
            return PlainTextResponse(f"{error}\n", status_code=503)

    return answer


class _Pages:
    """The endpoints."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._viewers = 0

    async def page(self, request: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers=_SAFE)

    async def plotly(self, request: Request) -> Response:
        return FileResponse(plotly_file(), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    async def scans(self, request: Request) -> Response:
        """The scans in Redis, newest first; ``?session=`` only those of one."""
        known = self._hub.scans.summaries(request.query_params.get("session"))
        return JSONResponse([scan_message(scan) for scan in known])

    async def health(self, request: Request) -> Response:
        """What the monitor does: for watchdogs and for measurements."""
        trouble = self._hub.scans.trouble
        state = {"viewers": self._viewers, "pictures_fetched": self._hub.fetches, "trouble": trouble}
        return JSONResponse(state, status_code=503 if trouble else 200)

    async def picture(self, request: Request) -> Response:
        """A frame as PNG; ``?map=`` colour map, ``?scale=`` auto, linear, log."""
        scale, colours = (request.query_params.get(name, given) for name, given in (("scale", "auto"), ("map", "grey")))
        if scale not in SCALES or colours not in COLOUR_MAPS:
            raise ParameterError(
                f"scale {scale!r}, map {colours!r}; allowed scales: {', '.join(SCALES)}; maps: {', '.join(COLOUR_MAPS)}"
            )
        watched = await self._watched(request)
        wanted = ShowImage(mode="frame", index=self._index(request), max_px=2048)
        picture = await self._hub.run(watched.picture, wanted)
        if picture is None:
            raise NotAvailableError(f"there is no frame {wanted.index} yet")
        return Response(await self._hub.run(png, picture, scale, colours), media_type="image/png")

    async def spots(self, request: Request) -> Response:
        """The spots of a frame as CSV."""
        watched = await self._watched(request)
        table = await self._hub.run(watched.spots, self._index(request))
        return _csv(table_csv(table.dtype.names, table.tolist()))

    async def chart(self, request: Request) -> Response:
        """A chart as CSV."""
        watched = await self._watched(request)
        return _csv(chart_csv(watched.view, request.path_params["chart"]))

    def _index(self, request: Request) -> int:
        index: int = request.path_params["index"]
        if index >= 2**40:
            raise ParameterError(f"frame {index}: there are no more than 2^40 frames in a scan")
        return index

    async def _watched(self, request: Request) -> Watched:
        summary = self._hub.scans.find(request.path_params["key"])
        return await self._hub.watched(summary, request.path_params["detector"])

    async def socket(self, socket: WebSocket) -> None:
        """News for one page."""
        if self._viewers >= MOST_VIEWERS:
            await socket.close(1013, f"{MOST_VIEWERS} pages are open")
            return
        await socket.accept()
        self._viewers += 1
        try:
            await Viewer(self._hub, _Socket(socket)).serve()
        except WebSocketDisconnect:
            _log.debug("a page has gone")
        finally:
            self._viewers -= 1


def _csv(text: str) -> Response:
    return Response(text, media_type="text/csv")


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return PlainTextResponse(f"{request.url.path}: {getattr(error, 'detail', 'not found')}\n", status_code=status)


def make_app(hub: Hub, token: str | None = None) -> Starlette:
    """The application; ``token`` None: only for this host. The hub is closed with it."""
    pages = _Pages(hub)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        await hub.run(lambda: None)
        hub.close()

    return Starlette(
        routes=[
            Route("/", pages.page),
            Route("/plotly.min.js", pages.plotly),
            Route("/api/health", pages.health),
            Route("/api/scans", _plainly(pages.scans)),
            Route("/api/frame/{key}/{detector}/{index:int}.png", _plainly(pages.picture)),
            Route("/api/spots/{key}/{detector}/{index:int}.csv", _plainly(pages.spots)),
            Route("/api/csv/{key}/{detector}/{chart}", _plainly(pages.chart)),
            WebSocketRoute("/ws", pages.socket),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[Middleware(Admission, token=token)],
        exception_handlers={404: _not_found},
        lifespan=life,
    )
