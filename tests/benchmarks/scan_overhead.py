"""What a scan costs beside its exposures: prepare, start, `ct(0.05)` and points/s of an unsaved `loopscan` at 1 ms."""

from __future__ import annotations

import time

import numpy as np
from _harness import arguments, report, run_session, running_stack

from lima2_bliss.client import Detector

CODE = """
det = simulator
det.reset_settings()
det.roi_counters.set("roi0", (100, 100, 200, 200))
ct(0.05, det)
ct_s = []
for _ in range(REPEATS):
    begin = time.perf_counter()
    ct(0.05, det)
    ct_s.append(time.perf_counter() - begin)
loopscan(10, 0.001, det, save=False)
begin = time.perf_counter()
loopscan(POINTS, 0.001, det, save=False)
with_detector = time.perf_counter() - begin
loopscan(10, 0.001, diode, save=False)
begin = time.perf_counter()
loopscan(POINTS, 0.001, diode, save=False)
with_diode = time.perf_counter() - begin
answer({"ct_s": ct_s, "detector_s": with_detector, "diode_s": with_diode})
"""


def main() -> None:
    options = arguments(__doc__ or "", points=400, repeats=15)
    prepare_s, start_s = [], []
    with running_stack() as stack:
        detector = Detector(
            "id00/limacontrol/simulator",
            ["id00/limareceiver/simulator1", "id00/limareceiver/simulator2"],
            "id00/limaimage/simulator",
        )
        acquisition, processing = detector.default_parameters()
        acquisition["acq"] |= {"nb_frames": 2, "expo_time": 1000}
        for _ in range(options.repeats + 2):
            begin = time.perf_counter()
            prepared = detector.prepare(acquisition, processing)
            prepare_s.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            prepared.start()
            start_s.append(time.perf_counter() - begin)
            prepared.wait("finished", timeout_s=20)
            prepared.close()
        got = run_session(stack, CODE.replace("POINTS", str(options.points)).replace("REPEATS", str(options.repeats)))
    report(
        options,
        "scan overhead: simulator of 1 Mpx over two receivers",
        {
            "prepare_ms": float(np.median(prepare_s[2:]) * 1e3),
            "start_ms": float(np.median(start_s[2:]) * 1e3),
            "ct_50ms_wall_ms": float(np.median(got["ct_s"]) * 1e3),
            "loopscan_points_per_s": options.points / got["detector_s"],
            "diode_points_per_s": options.points / got["diode_s"],
        },
    )


if __name__ == "__main__":
    main()
