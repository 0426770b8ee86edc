"""What the demo does with a Jungfrau in its BLISS session: a pedestal scan, then corrected images searched for hits.

Control plays a module that sends UDP packets to two receivers, at 200 frames/s. Its crystal diffracts in 30 % of them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lima2_bliss.stack.demo_start import say, start_session

FRAMES = 400
DARK_FRAMES = 100
EXPOSURE_S = 1e-3
RATE_HZ = 200.0
HIT_RATE = 0.3
#: Different images that the simulated module sends in turn.
IMAGES = 20
PACKETS_PER_FRAME = 128


def main() -> None:
    """Run the scans and print what came out of them; the last line is JSON for the demo."""
    from bliss.config import static

    start_session()
    jungfrau = static.get_config().get("jungfrau")
    jungfrau.reset_settings()
    jungfrau.acquisition.latency_time = 1 / RATE_HZ - EXPOSURE_S
    jungfrau.detector.update({"beam.images": IMAGES, "beam.hit_rate": HIT_RATE})
    say(f"\n>>> jungfrau.pedestal_scan({DARK_FRAMES}, {EXPOSURE_S})")
    jungfrau.pedestal_scan(DARK_FRAMES, EXPOSURE_S)

    poni = Path(os.environ["LIMA2_DATA"]) / "jungfrau.poni"
    poni.write_text(jungfrau.command("poni", jungfrau.settings_now().detector))
    jungfrau.smx.poni = str(poni)
    jungfrau.processing.pipeline = "smx"
    jungfrau.smx.save_dense = "hits"
    say(f"\n>>> jungfrau.take({FRAMES}, {EXPOSURE_S})")
    begin = time.monotonic()
    scan = jungfrau.take(FRAMES, EXPOSURE_S)
    wall_s = time.monotonic() - begin
    say("\n>>> jungfrau")
    say(jungfrau.__info__())
    say("SUMMARY " + json.dumps(summary(jungfrau, scan, wall_s)))


def summary(detector: Any, scan: Any, wall_s: float) -> dict[str, Any]:
    """Counts of packets and frames, hits of streams and files."""
    import h5py
    import hdf5plugin
    import numpy as np

    assert hdf5plugin.FILTERS  # imported for its filters
    outcome = detector.last_outcome
    streams = {name.split(":", 1)[1]: stream for name, stream in scan.streams.items() if name.startswith("jungfrau:")}
    hits, peaks = np.asarray(streams["is_hit"][:]), np.asarray(streams["nb_peaks"][:])
    with h5py.File(outcome.files["frame"]) as dense, h5py.File(outcome.files["sparse_frame"]) as sparse:
        shown = dense["entry_0000/hits/data"]
        first = shown[0]
        agree = len(shown) == hits.sum() and np.array_equal(sparse["entry_0000/peaks/nPeaks"][:], peaks)
    return {
        "wall_s": wall_s,
        "receivers": [
            {"name": receiver.name, "rank": receiver.rank, **receiver.counts.model_dump()}
            for receiver in outcome.status.receivers
        ],
        "packets": outcome.status.intake,
        "published": detector.publisher.status(outcome.uuid).rows,
        "hits": int(hits.sum()),
        "spots_per_hit": float(peaks[hits > 0].mean()) if hits.any() else 0.0,
        "hits_agree": bool(agree),
        "shape": list(first.shape),
        "dtype": str(first.dtype),
        "calibration": detector.calibration.file,
        "master": str(outcome.files["frame"]),
        "sparse_master": str(outcome.files["sparse_frame"]),
    }


if __name__ == "__main__":
    main()
