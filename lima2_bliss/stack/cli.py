"""The command `lima2-stack`: up, down, status, logs, restart, env, shell, flint, add-detector."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lima2_bliss.contract import Lima2Error
from lima2_bliss.stack import config_tree, detector_yaml, processes
from lima2_bliss.stack.embedded import Stack, script

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


def _default_state_dir() -> Path:
    root = os.environ.get("XDG_STATE_HOME", str(Path.home() / ".local" / "state"))
    return Path(root) / "lima2-stack"


StateDir = Annotated[
    Path, typer.Option("--state-dir", envvar="LIMA2_STATE_DIR", help="where the stack keeps configuration, logs, data")
]
STATE_DIR = _default_state_dir()


@app.command()
def up(
    state_dir: StateDir = STATE_DIR,
    config: Annotated[Path | None, typer.Option(help="beacon configuration to use instead of the shipped one")] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(help="a detector to start, or all; many times for several; default: those of the sessions"),
    ] = None,
) -> None:
    """Start Redis, beacon, the Tango database and detectors; harmless when they run already."""
    stack = Stack(state_dir)
    stack.up(config, detector or ())
    _print_status(stack)
    if rest := stack.not_started():
        typer.echo(f"\nnot started: {', '.join(rest)}   (lima2-stack up --detector NAME)")
    typer.echo(f"\nBLISS shell:  lima2-stack shell --state-dir {stack.state_dir}")
    typer.echo(f"environment:  eval $(lima2-stack env --state-dir {stack.state_dir})")


@app.command()
def down(
    state_dir: StateDir = STATE_DIR,
    detector: Annotated[list[str] | None, typer.Option(help="stop only this detector; many times for several")] = None,
) -> None:
    """Stop everything that was started, also after a crash; configuration, settings, logs and data stay."""
    killed = Stack(state_dir).down(detector or ())
    what = f"{', '.join(detector)} of the stack" if detector else "stack"
    typer.echo(f"{what} in {state_dir} is down" + (f" (had to kill {killed})" if killed else ""))


def _print_status(stack: Stack) -> None:
    record = stack.record()
    if record is None:
        typer.echo(f"no stack runs in {stack.state_dir}")
        return
    env = stack.environment()
    typer.echo(f"state {stack.state_dir}   BEACON_HOST={env['BEACON_HOST']}   TANGO_HOST={env['TANGO_HOST']}")
    for row in stack.status():
        typer.echo(f"  {row.name:34s} pid {row.pid:<8d} {'running' if row.running else 'DEAD':8s} {row.rss_mb:6.0f} MB")


@app.command()
def status(state_dir: StateDir = STATE_DIR) -> None:
    """List the processes; exit code 1 when one is dead or nothing runs."""
    stack = Stack(state_dir)
    _print_status(stack)
    rows = stack.status()
    if not rows or not all(row.running for row in rows):
        raise typer.Exit(1)


@app.command()
def logs(
    state_dir: StateDir = STATE_DIR,
    name: Annotated[str, typer.Argument(help="part of a process name; empty is all")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000)] = 20,
) -> None:
    """Show the end of the logs."""
    for path in Stack(state_dir).logs():
        if name.replace("/", "_") in path.stem:
            typer.echo(f"==> {path}")
            typer.echo(processes.tail(path, lines))


@app.command()
def restart(name: Annotated[str, typer.Argument(help="server/instance")], state_dir: StateDir = STATE_DIR) -> None:
    """Restart one control, receiver, access or publisher process."""
    stack = Stack(state_dir)
    stack.restart(name)
    _print_status(stack)


@app.command()
def env(state_dir: StateDir = STATE_DIR) -> None:
    """Print the variables that a BLISS session or consumer needs, as shell exports."""
    for key in ("BEACON_HOST", "TANGO_HOST", "CONDA_PREFIX", "PATH", "PYTHONWARNINGS", "LIMA2_DATA"):
        typer.echo(f"export {key}='{Stack(state_dir).environment()[key]}'")


@app.command()
def shell(
    state_dir: StateDir = STATE_DIR, session: Annotated[str, typer.Option(help="BLISS session")] = "demo"
) -> None:
    """Open the BLISS shell of a session."""
    _exec(state_dir, session, [script("bliss"), "-s", session, "--no-tmux"])


@app.command()
def flint(
    state_dir: StateDir = STATE_DIR, session: Annotated[str, typer.Option(help="BLISS session")] = "demo"
) -> None:
    """Open Flint, BLISS's live plots, for a session (needs a display)."""
    _exec(state_dir, session, [sys.executable, "-m", "bliss.flint", "-s", session])


def _exec(state_dir: Path, session: str, command: list[str]) -> None:
    stack = Stack(state_dir)
    environment = stack.environment()
    known = config_tree.sessions(stack.config_dir)
    if session not in known:
        raise typer.BadParameter(f"no session {session!r}; there are: {', '.join(known)}")
    os.execve(command[0], command, environment)


@app.command("add-detector")
def add_detector(
    name: str,
    config: Annotated[Path, typer.Option(help="beacon configuration to write into")],
    receivers: Annotated[int, typer.Option(min=1, max=64)] = 2,
    detector: Annotated[str, typer.Option(help="detector plugin")] = "simulator",
) -> None:
    """Write the YAML of a detector with N receivers on this host into a beacon configuration."""
    detector_yaml.write_detector(config, name, receivers, detector)
    typer.echo(f"wrote {config / 'tango' / (name + '.yml')} and {config / 'detectors' / (name + '.yml')}")


def main() -> None:
    """Entry point of `lima2-stack`: errors as one line, exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (Lima2Error, OSError) as error:
        typer.echo(f"lima2-stack: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
