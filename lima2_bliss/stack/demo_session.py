"""What the demo does in its BLISS session: `ct`, a `loopscan` of 200 images over two receivers, a look at it."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

FRAMES = 200
EXPOSURE_S = 0.002


def say(line: str) -> None:
    """One line to the demo, and by it to the person who runs it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the scans and print what came out of them; the last line is JSON for the demo."""
    from bliss.common import axis  # it shows every deprecation once; what libraries deprecate is not the demo's matter
    from bliss.config import static

    assert axis
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    session = static.get_config().get("demo")
    session.setup()
    from bliss.shell.standard import ct, loopscan

    detector = session.env_dict["simulator"]
    session.scan_saving.base_path = os.environ["LIMA2_DATA"]
    detector.reset_settings()
    detector.detector["generator.type"] = "diffraction"
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
    master = Path(outcome.files["frame"])
    with h5py.File(master) as file:
        data = file["entry_0000/measurement/data"]
        shape = data.shape
        nbytes = sum(path.stat().st_size for path in master.parent.glob("*.h5"))
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
        "file_mb": nbytes / 1e6,
        "raw_mb": float(np.prod(shape)) * 2 / 1e6,
        "equal": equal,
        "mean_beam": float(sums.mean()),
    }


if __name__ == "__main__":
    main()
