"""Run with the Python of an environment that has lima2-client: an SMX acquisition through the conductor at a port.

Prints one JSON object with what was seen.
"""

import json
import sys
import time
from pathlib import Path

import lima2.client.services as services

FINISHED_S = 20.0
SIZE = {"x": 160, "y": 120}

port, folder, poni, nb_frames = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
conductor = services.init("localhost", port)


def until(condition):
    deadline = time.monotonic() + FINISHED_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"hangs in state {conductor.acquisition.state()}")
        time.sleep(0.02)


deadline = time.monotonic() + FINISHED_S
while True:
    try:
        conductor.acquisition.state()
        break
    except Exception:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.05)

acquisition, receiver = conductor.acquisition.default_params()
for parameters in (acquisition, receiver):
    parameters["acq"].update(nb_frames=nb_frames, expo_time=2000, latency_time=0)
    parameters["det"].update(size=SIZE, nb_prefetch_frames=4)
    parameters["det"]["generator"]["type"] = "diffraction"
processing = conductor.pipeline.default_params("LimaProcessingSmx")
processing["fai"].update(poni_path=poni, nb_bins=40, acc_nb_frames_xfer=8)
processing["peaks"]["min_spots"] = 3
processing["statistics"].update(
    enabled=True, rect_rois=[{"topleft": {"x": 1, "y": 1}, "dimensions": {"x": 10, "y": 10}}]
)
for section, values in processing.items():
    if section.startswith("saving"):
        values.update(base_path=folder, enabled=section in ("saving_dense", "saving_sparse"))
Path(folder).mkdir(exist_ok=True)


def result():
    return type(conductor.acquisition.result()).__name__


conductor.acquisition.prepare(acquisition, receiver, processing)
conductor.acquisition.start()
until(lambda: result() != "Unknown")
seen = {
    "result": result(),
    "warnings": [str(each) for each in getattr(conductor.acquisition.result(), "warnings", [])],
    "sources": sorted(conductor.pipeline.frame_channels()),
    "progress": {name: conductor.pipeline.progress(name) for name in ("frame", "sparse_frame")},
    "nb_peaks": [int(row[0]) for chunk in conductor.pipeline.reduced_data("nb_peaks", 0) for row in chunk.tolist()],
    "rois": sum(len(chunk) for chunk in conductor.pipeline.reduced_data("roi_stats", 0)),
    "master": conductor.pipeline.master_files()["frame"],
}
frame = conductor.pipeline.get_frame(5, "frame")
sparse = conductor.pipeline.get_frame(5, "sparse_frame")
dense = frame.data.reshape(SIZE["y"], SIZE["x"])
seen["sparse"] = {
    "idx": sparse.idx,
    "shape": list(sparse.shape),
    "pixels": len(sparse.index),
    "background": [float(each) for each in sparse.background_avg],
    "of the frame": bool((dense.ravel()[sparse.index] == sparse.intensity).all()),
}
for source in ("sparse_frame", "acc_corrected", "acc_peaks"):
    newest = conductor.pipeline.get_frame(-1, source)
    seen[source] = [newest.idx, str(newest.data.dtype), float(newest.data.sum())]
seen["as of 9"] = conductor.pipeline.get_frame(9, "acc_peaks").idx
print(json.dumps(seen))
