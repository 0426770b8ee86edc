"""Run with the Python of an environment that has lima2-client: drives acquisitions through the conductor at a port.

Prints one JSON object with what was seen.
"""

import json
import sys
import time

import lima2.client.services as services
from lima2.common.exceptions import Lima2BackendError, Lima2ParamError

FINISHED_S = 20.0

port, folder = int(sys.argv[1]), sys.argv[2]
conductor = services.init("localhost", port)
seen = {"runs": []}

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
processing = conductor.pipeline.default_params("LimaProcessingLegacy")
for parameters in (acquisition, receiver):
    parameters["acq"].update(expo_time=2000, latency_time=0)
    parameters["det"]["size"] = {"x": 128, "y": 64}
    parameters["det"]["stamp_frame_number"] = True
processing["statistics"]["rect_rois"] = [{"topleft": {"x": 1, "y": 1}, "dimensions": {"x": 10, "y": 10}}]
processing["saving"].update(enabled=True, base_path=folder, file_exists_policy="overwrite")


def until(condition):
    deadline = time.monotonic() + FINISHED_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"hangs in state {conductor.acquisition.state()}")
        time.sleep(0.02)


def result():
    return type(conductor.acquisition.result()).__name__


def run(nb_frames, **det):
    for parameters in (acquisition, receiver):
        parameters["acq"]["nb_frames"] = nb_frames
        parameters["det"].update(det)
    conductor.acquisition.prepare(acquisition, receiver, processing)
    conductor.acquisition.start()
    until(lambda: result() != "Unknown")
    return result()


for nb_frames in (50, 2, 3, 51):
    seen["runs"].append(run(nb_frames))
seen["frame"] = conductor.pipeline.get_frame(7, "frame").data[0, 0, :8].tolist()
seen["input_frame"] = conductor.pipeline.get_frame(-1, "input_frame").idx
seen["rows"] = sum(len(chunk) for chunk in conductor.pipeline.reduced_data("roi_stats", 0))
seen["master"] = conductor.pipeline.master_files()["frame"]
seen["failed"] = run(50, failed_frame_idx=5)
conductor.acquisition.reset()
until(lambda: conductor.system_state()["state"] == "IDLE")
seen["after failure"] = run(10, failed_frame_idx=0)
receiver["acq"]["expo_time"] = 0
try:
    conductor.acquisition.prepare(acquisition, receiver, processing)
except (Lima2BackendError, Lima2ParamError) as error:
    seen["refused"] = str(error)
receiver["acq"]["expo_time"] = 2000
processing["statistics"]["rect_rois"][0]["topleft"]["x"] = 1000
try:
    conductor.acquisition.prepare(acquisition, receiver, processing)
except (Lima2BackendError, Lima2ParamError) as error:
    seen["roi"] = str(error)
processing["statistics"]["rect_rois"][0]["topleft"]["x"] = 1
for parameters in (acquisition, receiver):
    parameters["acq"]["nb_frames"] = 0
conductor.acquisition.prepare(acquisition, receiver, processing)
conductor.acquisition.start()
until(lambda: conductor.pipeline.progress("frame") > 50)
conductor.acquisition.stop()
until(lambda: result() != "Unknown")
seen["stopped"] = result()
seen["endless"] = conductor.pipeline.progress("frame")
print(json.dumps(seen))
