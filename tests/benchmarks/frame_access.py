"""Bulk reading of frames from two receivers against reading the same frames one by one through `readImage`."""

from __future__ import annotations

import time

import numpy as np
import tango
from _harness import arguments, copy_gb_per_s, report, running_stack

from lima2_bliss.client import Detector
from lima2_bliss.contract.encoding import decode_frame


def main() -> None:
    options = arguments(__doc__ or "", frames=150, repeats=5)
    with running_stack():
        detector = Detector(
            "id00/limacontrol/simulator",
            ["id00/limareceiver/simulator1", "id00/limareceiver/simulator2"],
            "id00/limaimage/simulator",
        )
        acquisition, processing = detector.default_parameters()
        acquisition["acq"] |= {"nb_frames": options.frames, "expo_time": 1000}
        taken = detector.prepare(acquisition, processing)
        taken.start()
        taken.wait("finished", timeout_s=60)
        nbytes = taken.frame_info.nbytes * options.frames
        bulk_s = []
        for _ in range(options.repeats):
            begin = time.perf_counter()
            indices = [index for index, pixels in taken.frames() if pixels.size]
            bulk_s.append(time.perf_counter() - begin)
            assert indices == list(range(options.frames))
        image = tango.DeviceProxy("id00/limaimage/simulator")
        image.set_timeout_millis(10_000)
        begin = time.perf_counter()
        singles = [decode_frame(image.readImage(index))[0] for index in range(options.frames)]
        single_s = time.perf_counter() - begin
        for index, pixels in taken.frames():
            assert np.array_equal(pixels, singles[index])
        taken.close()
    bulk = nbytes / float(np.median(bulk_s)) / 1e9
    single = nbytes / single_s / 1e9
    report(
        options,
        f"frame access: {options.frames} frames of 1024 x 1024 uint16 over two receivers",
        {
            "bulk_gb_per_s": bulk,
            "bulk_frames_per_s": options.frames / float(np.median(bulk_s)),
            "single_per_s": options.frames / single_s,
            "single_gb_per_s": single,
            "ratio_bulk_to_single": bulk / single,
            "copy_gb_per_s": copy_gb_per_s(),
        },
    )


if __name__ == "__main__":
    main()
