"""The command `lima2-monitor`: serves the online monitor of a beamline."""

from __future__ import annotations

import logging
import os
import secrets
from typing import Annotated

import typer

from lima2_bliss.contract import Lima2Error, ParameterError
from lima2_bliss.monitor.admission import is_loopback
from lima2_bliss.monitor.hub import Hub
from lima2_bliss.monitor.serving import Serving

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def redis_address(redis: str | None) -> str:
    """Address of the data Redis: as given, or as beacon (BEACON_HOST) knows it."""
    if redis is not None:
        return redis
    if "BEACON_HOST" not in os.environ:
        raise ParameterError(
            "where is Redis? set BEACON_HOST (with the embedded stack: eval $(lima2-stack env)), or give --redis URL"
        )
    from blissdata.beacon.data import BeaconData

    address: str = BeaconData().get_redis_data_db()
    return address


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="address to listen at; other than this host's own needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8765,
    token: Annotated[
        str | None, typer.Option(envvar="LIMA2_MONITOR_TOKEN", help="what a browser must have; made if one is needed")
    ] = None,
    session: Annotated[str | None, typer.Option(help="show only scans of this BLISS session")] = None,
    redis: Annotated[str | None, typer.Option(help="data Redis, redis://HOST:PORT; default: what beacon says")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning, error")] = "warning",
) -> None:
    """Serve the online monitor until Ctrl-C. It reads blissdata and frames only: start as many as you like."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        from lima2_bliss.monitor.scans import Scans
        from lima2_bliss.monitor.watching import WatchedDetector

        if token is None and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        with Scans(redis_address(redis), session) as scans:
            hub = Hub(scans, lambda scan, detector: WatchedDetector(lambda: scans.open(scan.key), scan, detector))
            serving = Serving(hub, host, port, token)
            typer.echo(f"monitor: {serving.address}/{f'?token={token}' if token else ''}")
            serving.run()
    except Lima2Error as error:
        typer.echo(f"lima2-monitor: {error}", err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command."""
    app()
