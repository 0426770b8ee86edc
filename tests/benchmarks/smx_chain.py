"""The SMX chain: simulator, two receivers, background, sparse frames and spots, sparse files, streams; 1 Mpx uint16.

Throughput: 20 different diffraction images, 30 % of them hits, replayed as fast as the receivers take them. Latency, at
50 Hz: from a frame's last byte on its receiver to its spots read by a consumer process with a plain blissdata cursor.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from _harness import arguments, consumer_code, copy_gb_per_s, percentiles_ms, report, run_session, running_stack

FRAME_BYTES = 1024 * 1024 * 2

SETUP = """
from pathlib import Path

det = simulator
det.reset_settings()
det.detector.update({
    "generator.type": "diffraction", "generator.diffraction.hit_rate": 0.3, "nb_prefetch_frames": 20,
    "on_overrun": "wait",
})
poni = Path(SCAN_SAVING.base_path) / "simulator.poni"
poni.write_text(det.command("poni", {"generator": {"type": "diffraction"}}))
det.processing.update({"pipeline": "smx", "nb_fifo_frames": 50, "nb_frames_buffer": 20})
det.smx.update({"poni": str(poni), "save_dense": "none", "save_accumulated": False})
det.saving.frames_per_file = 1000
for i in range(4):
    det.roi_counters.set(f"roi{i}", (100 + 200 * i, 300, 150, 150))

def series(frames, expo_time, name):
    return own_pace(det, frames, expo_time, name)

def figures(scan, wall_s):
    streams = {key.split(":", 1)[1]: stream for key, stream in scan.streams.items() if key.startswith("simulator:")}
    status = det.last_outcome.status
    return {
        "wall_s": wall_s,
        "published": det.publisher.status(det.last_outcome.uuid).rows,
        "processed": status.processed, "saved": status.saved, "lost": status.lost,
        "hits": int(streams["is_hit"][:].sum()),
        "spots": len(streams["spots_x"]), "nb_peaks": int(streams["nb_peaks"][:].sum()),
        "kept": float(streams["nb_sparse"][:].mean()),
    }
"""

CHAIN = """
det.smx.threads_per_frame = 1
series(100, 0.0001, "first")
answer(figures(*series(FRAMES, 0.0001, "series")))
"""

PACED = """
det.smx.threads_per_frame = 0
series(20, 0.01, "first")
answer(figures(*series(FRAMES, 1 / RATE - 1e-5, "paced")))
"""

CONSUMER = (
    consumer_code("paced")
    + """
arrival = {}
for now, batch in follow("simulator:spots_frame"):
    for frame in batch:
        arrival[int(frame)] = now
stamps = [float(value) for _, batch in follow("simulator:timestamp") for value in batch]
print(json.dumps({"arrival": sorted(arrival.items()), "stamps": stamps}), flush=True)
"""
)


def latencies(stack, frames: int, rate_hz: float) -> tuple[np.ndarray, dict]:
    """Seconds from last byte to spots of each frame with spots, and the figures of the paced series."""
    consumer = subprocess.Popen(
        [sys.executable, "-c", CONSUMER], env=stack.environment(), stdout=subprocess.PIPE, text=True
    )
    with consumer:
        assert consumer.stdout is not None
        assert consumer.stdout.readline().strip() == "ready"
        try:
            code = SETUP + PACED.replace("FRAMES", str(frames)).replace("RATE", str(rate_hz))
            got = run_session(stack, code)
            seen = json.loads(consumer.stdout.readline())
        finally:
            consumer.kill()
    waited = np.array([now - seen["stamps"][frame] for frame, now in seen["arrival"]])
    assert len(waited) >= got["hits"], (len(waited), got)
    assert (waited > 0).all(), "spots were read before their frame was there"
    return waited, got


def main() -> None:
    options = arguments(__doc__ or "", frames=4000, paced_frames=1000, rate_hz=50.0)
    with running_stack() as stack:
        got = run_session(stack, SETUP + CHAIN.replace("FRAMES", str(options.frames)), timeout_s=1200)
        waited, paced = latencies(stack, options.paced_frames, options.rate_hz)
    for figures, frames in ((got, options.frames), (paced, options.paced_frames)):
        assert figures["published"] == figures["processed"] == figures["saved"] == frames, figures
        assert figures["spots"] == figures["nb_peaks"], figures
    frames_per_s = options.frames / got["wall_s"]
    copy = copy_gb_per_s()
    report(
        options,
        f"SMX chain: {options.frames} frames of 1024 x 1024 uint16, sparse files; latency at {options.rate_hz:g} Hz",
        {
            "frames_per_s": frames_per_s,
            "gb_per_s": frames_per_s * FRAME_BYTES / 1e9,
            "memcpy_ratio": frames_per_s * FRAME_BYTES / 1e9 / copy,
            **percentiles_ms(waited),
            "max_ms": float(waited.max() * 1e3),
            "hit_rate": got["hits"] / options.frames,
            "spots_per_hit": got["spots"] / max(got["hits"], 1),
            "pixels_kept": got["kept"],
            "lost": got["lost"] + paced["lost"],
        },
    )


if __name__ == "__main__":
    main()
