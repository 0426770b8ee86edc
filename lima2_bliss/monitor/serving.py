"""The monitor's web server as something that is started and stopped: in a thread, or as the whole process."""

from __future__ import annotations

import socket
import threading
from typing import Self

import uvicorn

from lima2_bliss.contract import ConnectionLostError
from lima2_bliss.monitor.hub import Hub
from lima2_bliss.monitor.messages import MESSAGE_BYTES
from lima2_bliss.monitor.server import make_app

#: Pages that are open get this long to hear that the monitor ends; they connect again.
_STOP_S = 1


class Serving:
    """Serves a hub at ``host``:``port`` (0: any free one); as context manager in a thread of its own.

    `ConnectionLostError` when the port is taken.
    """

    def __init__(self, hub: Hub, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        self._socket = _bound(host, port)
        self._host = host
        config = uvicorn.Config(
            make_app(hub, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=_STOP_S,
            h11_max_incomplete_event_size=65536,
            limit_concurrency=256,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Where the page is, without a slash at the end."""
        host, port = self._socket.getsockname()[:2]
        name = "localhost" if host in ("127.0.0.1", "::1") else host
        return f"http://{f'[{name}]' if ':' in name else name}:{port}"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, name="monitor-server", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_S + 5)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise ConnectionLostError(
            f"the monitor cannot listen at {host} port {port}: {error.strerror}; give another --port, 0 for any"
        ) from None
    return made
