"""The main job in one command: stack up, BLISS scans of simulated detectors, summaries, clean stop."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lima2_bliss.contract import Lima2Error, RoundRobin
from lima2_bliss.stack import demo_jungfrau, demo_jungfrau_session, demo_session
from lima2_bliss.stack.demo_monitor import keep_last_hit, monitor
from lima2_bliss.stack.embedded import Stack

SESSION_TIMEOUT_S = 180.0
DETECTORS = ("simulator", "jungfrau")

#: Streams that do not have one point per frame begin so.
OTHER_LENGTHS = ("preview", "acc_", "spots_", "sparse_")


def say(line: str = "") -> None:
    """One line to the person who runs the demo."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_session(stack: Stack, script: str) -> dict[str, Any]:
    """Run a session of the demo; what it prints is shown, its summary returned."""
    command = [sys.executable, "-u", script]
    process = subprocess.Popen(
        command, env=stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    summary: dict[str, Any] = {}
    printed: list[str] = []
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            if line.startswith("SUMMARY "):
                summary = json.loads(line[8:])
            else:
                printed.append(line)
                say("  " + line.rstrip())
        code = process.wait(SESSION_TIMEOUT_S)
    if code or not summary:
        raise Lima2Error(f"the BLISS session ended with code {code}; see above")
    return summary


def faults(summary: dict[str, Any]) -> list[str]:
    """What does not add up; empty when all is right."""
    dispatch = RoundRobin(summary["nb_receivers"])
    found = []
    for receiver in summary["receivers"]:
        sent = dispatch.count(receiver["rank"], demo_session.FRAMES)
        for step in ("received", "processed", "saved"):
            if receiver[step] != sent:
                found.append(f"{receiver['name']}: {sent} frames sent, {receiver[step]} {step}")
    if summary["published"] != demo_session.FRAMES:
        found.append(f"{summary['published']} frames published of {demo_session.FRAMES}")
    for stream, points in summary["streams"].items():
        if points != demo_session.FRAMES and not stream.startswith(OTHER_LENGTHS):
            found.append(f"stream {stream} has {points} points of {demo_session.FRAMES}")
    expected_hits = round(demo_session.HIT_RATE * demo_session.FRAMES)
    if summary["hits"] != expected_hits:
        found.append(f"{summary['hits']} hits found, the simulated crystal gave {expected_hits}")
    if not summary["hits_agree"]:
        found.append("hits and spots in the files and in the streams are not the same")
    if not summary["equal"]:
        found.append("frames in the file, in the image stream and the ROI sums are not the same")
    return found


def show(summary: dict[str, Any]) -> None:
    """The summary as a table."""
    dispatch = RoundRobin(summary["nb_receivers"])
    published = summary["published"]
    steps = ("received", "lost", "invalid", "processed", "saved")
    say("\nframes per receiver of the loopscan")
    say(f"  {'receiver':32s} {'sent':>9s} " + " ".join(f"{step:>9s}" for step in (*steps, "published")))
    for receiver in summary["receivers"]:
        rank = receiver["rank"]
        counts = [receiver[step] for step in steps] + [dispatch.count(rank, published)]
        sent = dispatch.count(rank, demo_session.FRAMES)
        say(f"  {receiver['name']:32s} {sent:9d} " + " ".join(f"{count:9d}" for count in counts))
    rate = demo_session.FRAMES / summary["wall_s"]
    say(f"\n  rate         {rate:.0f} points/s over the whole scan ({summary['wall_s']:.2f} s, software trigger)")
    reduction = summary["raw_mb"] * 1e6 / summary["sparse_bytes"]
    hit_rate = summary["hits"] / demo_session.FRAMES
    say(f"  hits         {summary['hits']} of {demo_session.FRAMES} frames ({hit_rate:.1%})")
    say(f"  spots        {summary['spots_per_hit']:.1f} per hit, {summary['spots_per_miss']:.1f} per other frame")
    say(f"  reduction    {reduction:.0f} times: {summary['kept_pixels']:.0f} pixels of a frame are above background")
    say(f"  dense file   {summary['master']}")
    say(f"               {tuple(summary['shape'])}, {summary['file_mb']:.0f} MB on disk for {summary['raw_mb']:.0f} MB")
    say(f"  sparse file  {summary['sparse_master']}")
    say(f"               {summary['sparse_mb']:.1f} MB on disk; fabio opens it as dense images")
    say(f"  scan file    {summary['scan_file']}")
    say(f"  streams      {', '.join(sorted(summary['streams']))}")
    say(f"  check        file, image stream and ROI sums agree: {'yes' if summary['equal'] else 'NO'}")
    say(f"               hits and spots of files and streams agree: {'yes' if summary['hits_agree'] else 'NO'}")


def main() -> None:
    """Entry point of `make demo`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=Path(".stack"), help="where the stack lives")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    options = parser.parse_args()
    stack = Stack(options.state_dir)
    begin = time.monotonic()
    try:
        say("starting Redis, beacon, Tango database; control, two receivers, access and publisher of two detectors ...")
        say("(the first start on a host compiles kernels; that takes some two minutes)")
        stack.up(detectors=DETECTORS)
        say(f"... up after {time.monotonic() - begin:.1f} s: " + ", ".join(row.name for row in stack.status()))
        with monitor(stack.environment(), stack.state_dir / "log" / "monitor.log") as address:
            say(f"online monitor, while the demo runs: {address}/")
            summary = run_session(stack, demo_session.__file__)
            show(summary)
            frame, picture = keep_last_hit(address, Path("artifacts"))
            say(f"  monitor      frame {frame}, the last hit, as the online monitor shows it: {picture}")
        of_jungfrau = run_session(stack, demo_jungfrau_session.__file__)
        demo_jungfrau.show(of_jungfrau, say)
        wrong = faults(summary) + demo_jungfrau.faults(of_jungfrau)
        for line in wrong:
            say(f"  WRONG: {line}")
    finally:
        if not options.keep:
            stack.down()
    command = f"lima2-stack {{}} --state-dir {options.state_dir}"
    say("\nto look further (in this directory, after: source .venv/bin/activate)")
    say(f"  {command.format('up --detector all'):44s} start the stack again, with a simulated Jungfrau-4M, too")
    say(f"  {command.format('shell'):44s} the BLISS shell; type: simulator, loopscan(20, 0.1, simulator)")
    say(f"  {command.format('flint'):44s} live plots (needs a display)")
    say(f'  {"lima2-monitor":44s} the online monitor in a browser, after: eval "$({command.format("env")})"')
    say(f"  {'silx view ' + summary['master']}")
    say(f"  {'lima2-smx-tune ' + summary['master'] + ' --set cutoff_peak=4,5,6'}")
    say(f"  {command.format('down'):44s} stop it")
    say(f"\ndemo {'finished' if not wrong else 'FAILED'} in {time.monotonic() - begin:.0f} s; the stack is "
        f"{'still running' if options.keep else 'down'}")  # fmt: skip
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except Lima2Error as error:
        raise SystemExit(f"demo: {error}") from None
