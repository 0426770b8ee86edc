"""What the demo does in its BLISS session: `ct`, a `loopscan` of 200 images over two receivers that finds hits, a look.

The simulated crystal diffracts in 30 % of the images. The SMX pipeline finds the radial background of each image, the
pixels above it and the spots, and tells hits from misses.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lima2_bliss.stack.demo_start import say, start_session

FRAMES = 200
EXPOSURE_S = 0.002
HIT_RATE = 0.3
#: Different images that the simulator replays.
IMAGES = 20


def main() -> None:
    """Run the scans and print what came out of them; the last line is JSON for the demo."""
    session = start_session()
    from bliss.shell.standard import ct, loopscan

    detector = session.env_dict["simulator"]
    detector.reset_settings()
    detector.detector["generator.type"] = "diffraction"
    detector.detector["generator.diffraction.hit_rate"] = HIT_RATE
    detector.detector["nb_prefetch_frames"] = IMAGES
    poni = Path(os.environ["LIMA2_DATA"]) / "simulator.poni"
    poni.write_text(detector.command("poni", {"generator": {"type": "diffraction"}}))
    detector.smx.poni = str(poni)
    detector.processing.pipeline = "smx"
    for name in list(detector.roi_counters.keys()):
        detector.roi_counters.remove(name)
    detector.roi_counters.set("beam", (462, 462, 100, 100))
    detector.roi_counters.set_arc("ring", (512, 512, 200, 260, 0, 360))
    say(detector.__info__())

    say("\n>>> ct(0.1, simulator)")
    ct(0.1, detector)
    say(f"\n>>> loopscan({FRAMES}, {EXPOSURE_S}, simulator)")
    begin = time.monotonic()
    scan = loopscan(FRAMES, EXPOSURE_S, detector)
    wall_s = time.monotonic() - begin
    say("\n>>> simulator")
    say(detector.__info__())
    say("SUMMARY " + json.dumps(summary(detector, scan, wall_s)))


def summary(detector: Any, scan: Any, wall_s: float) -> dict[str, Any]:
    """Counts of every receiver, the published rows, and checks of file and streams against each other."""
    import h5py
    import hdf5plugin
    import numpy as np

    assert hdf5plugin.FILTERS  # imported for its filters
    outcome = detector.last_outcome
    status = outcome.status
    published = detector.publisher.status(outcome.uuid)
    streams = {name.split(":", 1)[1]: stream for name, stream in scan.streams.items() if name.startswith("simulator:")}
    sums = np.asarray(streams["beam_sum"][:])
    master, sparse = Path(outcome.files["frame"]), Path(outcome.files["sparse_frame"])
    with h5py.File(master) as file:
        data = file["entry_0000/measurement/data"]
        shape = data.shape
        nbytes = {kind: _disk_bytes(path) for kind, path in (("dense", master), ("sparse", sparse))}
        checked = [0, 1, FRAMES // 2, FRAMES - 1]
        equal = all(
            float(data[i, 462:562, 462:562].sum()) == sums[i]
            and np.array_equal(np.asarray(streams["image"][i]), data[i])
            for i in checked
        )
    return {
        "wall_s": wall_s,
        "receivers": [
            {
                "name": receiver.name,
                "rank": receiver.rank,
                **receiver.counts.model_dump(),
            }
            for receiver in status.receivers
        ],
        "published": published.rows,
        "nb_receivers": len(status.receivers),
        "streams": {name: len(stream) for name, stream in streams.items()},
        "scan_file": scan.scan_info.get("filename", ""),
        "master": str(master),
        "shape": list(shape),
        "file_mb": nbytes["dense"] / 1e6,
        "sparse_mb": nbytes["sparse"] / 1e6,
        "raw_mb": float(np.prod(shape)) * 2 / 1e6,
        "equal": equal,
        "sparse_master": str(sparse),
        **hit_summary(streams, master, sparse),
    }


def hit_summary(streams: Any, master: Path, sparse: Path) -> dict[str, Any]:
    """Hits and spots as the streams tell them, and whether the files tell the same."""
    import h5py
    import numpy as np

    hits, peaks = np.asarray(streams["is_hit"][:]), np.asarray(streams["nb_peaks"][:])
    kept = np.asarray(streams["nb_sparse"][:])
    with h5py.File(sparse) as file, h5py.File(master) as dense:
        lists, frames = file["entry_0000/peaks"], file["entry_0000/sparse_frames"]
        same = (
            np.array_equal(lists["nPeaks"][:], peaks)
            and np.array_equal(np.diff(frames["frame_ptr"][:].astype(np.int64)), kept)
            and np.array_equal(file["entry_0000/instrument/simulator/is_hit"][:], hits)
            and len(dense["entry_0000/hits/data"]) == hits.sum()
            and len(streams["spots_x"]) == peaks.sum()
        )
        per_frame = frames["background_avg"].shape[1] * 8
    return {
        "hits": int(hits.sum()),
        "spots_per_hit": float(peaks[hits > 0].mean()) if hits.any() else 0.0,
        "spots_per_miss": float(peaks[hits == 0].mean()) if not hits.all() else 0.0,
        "kept_pixels": float(kept.mean()),
        "sparse_bytes": float((kept * 6 + per_frame).sum()),  # index and value of each pixel, background of each frame
        "hits_agree": bool(same),
    }


def _disk_bytes(master: Path) -> int:
    """Bytes on disk of a master file and the files of the receivers below it."""
    return sum(path.stat().st_size for path in master.parent.glob(master.name.replace("_master", "_*")))


if __name__ == "__main__":
    main()
