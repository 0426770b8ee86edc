"""Where the files of a scan go, what is refused, and what is never written."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stack


def test_places_that_cannot_hold_images_are_refused_and_nothing_is_left_behind(bliss_values):
    said = bliss_values("""
det = simulator; clean(det)
det.detector.update({"size.x": 64, "size.y": 64})
open(data_path + "/file", "w").close()

def left():
    return sorted(name for _, below, files in os.walk(data_path) for name in below + files)

before = left()
SCAN_SAVING.base_path = data_path + "/file/below"
say(file=failure(lambda: loopscan(2, 0.01, det)), unsaved=streams(loopscan(2, 0.01, det, save=False)))
SCAN_SAVING.base_path = data_path + "/100%d"
say(percent=failure(lambda: loopscan(2, 0.01, det)))
SCAN_SAVING.base_path, prefix = data_path, SCAN_SAVING.images_prefix
SCAN_SAVING.images_prefix = "run%_"
say(prefix=failure(lambda: loopscan(2, 0.01, det)), took=streams(det.take(3, 0.01, save=False)))
SCAN_SAVING.images_prefix = prefix
say(left=[name for name in left() if name not in before], states=[str(s.name) for s in det.device_states().values()])
det.saving.enabled = False
say(no_images=measurement(loopscan(2, 0.01, det)), images=[name for name in left() if "simulator" in name])
det.saving.enabled = True
say(saved=measurement(loopscan(2, 0.01, det)))
clean(det)
""")
    for fault, kind, words in (
        ("file", "SavingError", "/file is a file); check SCAN_SAVING.base_path"),
        ("percent", "ParameterError", "'%' is not possible in the name of an image file"),
        ("prefix", "ParameterError", "run%_"),
    ):
        assert said[fault][0] == kind, said[fault]
        assert words in said[fault][1]
    assert said["unsaved"]["simulator:image"] == 2
    assert said["took"]["simulator:image"] == 3
    assert said["left"] == []
    assert set(said["states"]) == {"IDLE"}
    assert said["images"] == []
    assert said["saved"]["simulator"] == [2, 64, 64]


def test_a_scan_is_not_disturbed_by_the_last_one_that_is_still_processed(bliss_values):
    said = bliss_values("""
det = sim1; clean(det)
det.detector["stamp_frame_number"] = True
det.roi_counters.set("number", (0, 0, 1, 1))
few = det.counters.image, det.counters.number_sum
# much work for each image, without a counter for each ROI
slow = {f"slow{index}": [0, 0, 1024, 1024] for index in range(400)}
from lima2_bliss.contract.roi_geometry import ImageView
from lima2_bliss.controller import RectRoi
from lima2_bliss.controller.roi_definitions import define
det.roi_counters._rois.update({name: define(RectRoi(*numbers), ImageView()) for name, numbers in slow.items()})
say(first=interrupted(lambda: det.take(95, 0.001, *few), received(det, 95)))
old, first = det.last_acquisition, session.scans[-1]
for name in slow:
    del det.roi_counters._rois[name]
say(then=old.status().finished, logged=list(Logged.lines))
scan = loopscan(5, 0.01, *few)
say(second=scan.streams["number_sum"][:].tolist(), file=measurement(scan)["sim1"])
wait(lambda: len(Logged.lines) > 1)
with h5py.File(old.master_files["frame"]) as file:
    say(stamps=file["entry_0000/instrument/sim1/data"][:, 0, 0].tolist())
with h5py.File(first.scan_info["filename"]) as file:
    group = file[f"{int(first.scan_number)}.1/measurement"]
    say(linked=[group["sim1_frame_index"][:].tolist(), group["sim1_all_images"][:, 0, 0].tolist()])
say(told=Logged.lines[-1], state=det.state.name, third=streams(loopscan(3, 0.01, *few))["sim1:image"])
clean(det)
""")
    kind, late_s, streams, reason = said["first"]
    assert (kind, reason) == ("ScanAbort", "USER_ABORT")
    assert late_s < 10.0  # usually 0.5; the rest is for a busy machine
    assert streams["sim1:image"] == streams["sim1:number_sum"]
    assert said["then"] is False, "the first scan's images should still be processed"
    assert len(said["logged"]) == 1
    assert said["second"] == [0, 1, 2, 3, 4]
    assert said["file"] == [5, 1024, 1024]
    assert said["stamps"] == list(range(95))
    assert said["linked"] == [list(range(95))] * 2, "the scan file leads to what was written after it"
    assert "95 images saved" in said["told"]
    assert (said["state"], said["third"]) == ("IDLE", 3)
