"""Who may see the monitor: everybody on this host, or whoever has the token; no other site's pages."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "lima2_monitor"


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Admission:
    """ASGI layer around ``app``. With a token, it must come as bearer, as cookie, or once in the address (``?token=``),
    which sets the cookie. Without one, only addresses of this host are answered, whatever name they are called by.
    """

    app: ASGIApp
    token: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (refused := self._refused(scope, headers)) is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refused})
        elif self._right(self._in_address(scope)):
            answer = RedirectResponse("./", status_code=303)
            answer.set_cookie(COOKIE, self._in_address(scope), httponly=True, samesite="strict")
            await answer(scope, receive, send)
        else:
            await PlainTextResponse(f"{refused}\n", status_code=403)(scope, receive, send)

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        """Why a request is refused; None when it is not."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "pages of other sites may not read the monitor"
        if self.token is None:
            name = urlsplit(f"//{host}").hostname or ""
            return None if is_loopback(name) else "without a token the monitor answers only to the names of this host"
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._right(cookie) or self._right(bearer):
            return None
        return "a token is needed: open the link that lima2-monitor has printed"

    def _in_address(self, scope: Scope) -> str:
        given = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=20).get("token", [""])
        return given[0]

    def _right(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())
