"""Latency from a frame's last byte on its receiver to its ROI row read by a consumer process, 1 Mpx at 100 Hz, saved.

The consumer is a process of its own with a plain blissdata cursor; both clocks are the host's.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from _harness import arguments, consumer_code, percentiles_ms, report, run_session, running_stack

CONSUMER = (
    consumer_code("series")
    + """
arrival = [now for now, batch in follow("simulator:roi0_sum") for _ in batch]
stamps = [float(value) for _, batch in follow("simulator:timestamp") for value in batch]
print(json.dumps({"arrival": arrival, "stamps": stamps}), flush=True)
"""
)

CODE = """
det = simulator
det.reset_settings()
det.detector["generator.type"] = "diffraction"
for i in range(4):
    det.roi_counters.set(f"roi{i}", (100 + 200 * i, 300, 150, 150))
ct(0.01, det)
own_pace(det, FRAMES, 1 / RATE - 1e-5, "series")
answer({"lost": det.last_outcome.status.lost})
"""


def main() -> None:
    options = arguments(__doc__ or "", frames=2000, rate_hz=100.0)
    with running_stack() as stack:
        consumer = subprocess.Popen(
            [sys.executable, "-c", CONSUMER], env=stack.environment(), stdout=subprocess.PIPE, text=True
        )
        with consumer:
            assert consumer.stdout is not None
            assert consumer.stdout.readline().strip() == "ready"
            try:
                got = run_session(
                    stack, CODE.replace("RATE", str(options.rate_hz)).replace("FRAMES", str(options.frames))
                )
                seen = json.loads(consumer.stdout.readline())
            finally:
                consumer.kill()
    arrival, stamps = np.array(seen["arrival"]), np.array(seen["stamps"])
    assert len(arrival) == len(stamps) == options.frames, (len(arrival), len(stamps))
    waited = arrival - stamps
    assert (waited > 0).all(), "a row was read before its frame was there"
    report(
        options,
        f"latency: last byte of a frame to its ROI row at a consumer, {options.rate_hz:g} Hz of 1024 x 1024 uint16",
        {
            **percentiles_ms(waited),
            "p50_first_half_ms": float(np.median(waited[: len(waited) // 2]) * 1e3),
            "max_ms": float(waited.max() * 1e3),
            "frames": options.frames,
            "lost": got["lost"],
        },
    )


if __name__ == "__main__":
    main()
