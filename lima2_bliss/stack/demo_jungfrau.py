"""The Jungfrau's part of the demo: a table of what its session gave, and what does not add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lima2_bliss.contract import RoundRobin
from lima2_bliss.stack.demo_jungfrau_session import FRAMES, HIT_RATE, PACKETS_PER_FRAME, RATE_HZ


def faults(summary: dict[str, Any]) -> list[str]:
    """What does not add up; empty when all is right."""
    found = []
    packets, sent = summary["packets"], FRAMES * PACKETS_PER_FRAME
    if packets["packets_placed"] != sent:
        found.append(f"{sent} packets sent, {packets['packets_placed']} placed: {packets}")
    dispatch = RoundRobin(len(summary["receivers"]))
    for receiver in summary["receivers"]:
        due = dispatch.count(receiver["rank"], FRAMES)
        for step in ("received", "processed", "saved"):
            if receiver[step] != due:
                found.append(f"{receiver['name']}: {due} frames sent, {receiver[step]} {step}")
    if summary["published"] != FRAMES:
        found.append(f"{summary['published']} frames published of {FRAMES}")
    if summary["hits"] != round(HIT_RATE * FRAMES):
        found.append(f"{summary['hits']} hits found, the simulated crystal gave {round(HIT_RATE * FRAMES)}")
    if not summary["hits_agree"]:
        found.append("hits and spots in the files and in the streams are not the same")
    return found


def show(summary: dict[str, Any], say: Callable[[str], None]) -> None:
    """The summary as a table."""
    packets = summary["packets"]
    say("\nJungfrau: one module over two receivers")
    say(f"  packets      {packets['packets_received']} received, {packets['packets_missing']} missing")
    for receiver in summary["receivers"]:
        steps = ", ".join(f"{receiver[step]} {step}" for step in ("received", "lost", "processed", "saved"))
        say(f"  {receiver['name']:32s} {steps}")
    rate = FRAMES / summary["wall_s"]
    say(f"  rate         {RATE_HZ:.0f} frames/s on the wire; {rate:.0f} frames/s over the whole scan")
    say(f"  pixels       {packets['pixels_in_G1']} switched to G1, {packets['pixels_in_G2']} to G2 (all frames)")
    say(f"  hits         {summary['hits']} of {FRAMES} frames, {summary['spots_per_hit']:.1f} spots per hit")
    say(f"  images       {tuple(summary['shape'])} {summary['dtype']}, photons; dense frames of hits only")
    say(f"  calibration  {summary['calibration']}")
    say(f"  files        {summary['master']}")
    say(f"               {summary['sparse_master']}")
    say(f"  check        hits and spots of files and streams agree: {'yes' if summary['hits_agree'] else 'NO'}")
