"""The detector in real scans: each script runs in a BLISS process of its own on the embedded stack."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.stack


def test_step_scans_give_one_image_and_one_row_per_point(bliss_values):
    said = bliss_values("""
det = simulator; clean(det)
det.detector["stamp_frame_number"] = True
det.roi_counters.set("first", (0, 0, 1, 1))
det.roi_counters.set_arc("ring", (512, 512, 10, 20, 0, 360))
det.roi_profiles.set("columns", (0, 500, 30, 5), "horizontal")
ct(0.01, det)
scan = ascan(robx, 0, 1, 6, 0.01, det)
say(streams=streams(scan), file=measurement(scan), first=scan.streams["simulator:first_sum"][:].tolist(),
    motor=scan.streams["axis:robx"][:].tolist(),
    live=[int(scan.streams["simulator:image"][i][0, 0]) for i in range(7)],
    unsaved=streams(loopscan(4, 0.01, det, save=False)), taken=streams(det.take(20, 0.002)))
with h5py.File(scan.scan_info["filename"]) as file:
    group = file["1.1/instrument/simulator"]
    say(stamps=group["image"][:, 0, 0].tolist(), pixel=group["x_pixel_size"][()], nx=group.attrs["NX_class"],
        received=int(group["acquisition/frames_received"][()]))
clean(det)
""")
    names = ["simulator:image", "simulator:first_sum", "simulator:ring_std", "simulator:columns", "elapsed_time"]
    assert [said["streams"][name] for name in names] == [7] * 5
    assert "simulator:preview" in said["streams"]
    assert said["first"] == said["live"] == said["stamps"] == [0, 1, 2, 3, 4, 5, 6]
    assert len(said["motor"]) == 7
    assert said["file"]["simulator"] == [7, 1024, 1024]
    assert said["file"]["simulator_columns"] == [7, 30]
    assert said["unsaved"]["simulator:first_sum"] == 4
    assert said["taken"]["simulator:first_sum"] == 20
    assert (said["pixel"], said["nx"], said["received"]) == (75e-6, "NXdetector", 7)


def test_three_receivers_and_one_receiver_take_part_in_one_scan(bliss_values):
    said = bliss_values("""
for det in (sim1, sim3):
    clean(det)
    det.detector["stamp_frame_number"] = True
    det.roi_counters.set("roi1", (0, 0, 1, 1))
scan = loopscan(5, 0.01, sim1, sim3, diode)
say(one=scan.streams["sim1:roi1_sum"][:].tolist(), three=scan.streams["sim3:roi1_sum"][:].tolist())
say(file=measurement(scan))
with h5py.File(scan.scan_info["filename"]) as file:
    say(stamps=file["1.1/measurement/sim3"][:, 0, 0].tolist(), stamps1=file["1.1/measurement/sim1"][:, 0, 0].tolist())
for det in (sim1, sim3):
    clean(det)
""")
    assert said["one"] == said["three"] == said["stamps"] == said["stamps1"] == [0, 1, 2, 3, 4]
    assert {"sim1", "sim3", "sim1_roi1_sum", "sim3_roi1_sum", "diode"} <= set(said["file"])


def test_settings_and_rois_are_kept_for_the_next_session(bliss_values):
    bliss_values("""
clean(simulator)
simulator.saving.compression = "gzip"
simulator.detector["size.x"] = 512
simulator.roi_counters.set("kept", (1, 2, 3, 4))
""")
    said = bliss_values("""
det = simulator
say(compression=det.saving.compression, shape=det.image_shape(), rois=det.roi_counters.keys(),
    counters=[counter.name for counter in det.counter_groups.rois], info=det.__info__())
clean(det)
say(after=[det.saving.compression, det.image_shape(), det.roi_counters.keys()])
""")
    assert (said["compression"], said["shape"], said["rois"]) == ("gzip", [1024, 512], ["kept"])
    assert said["counters"] == ["kept_sum", "kept_avg", "kept_std", "kept_min", "kept_max"]
    assert "512 x 1024 pixels" in said["info"]
    assert "id00/limareceiver/simulator2  IDLE" in said["info"]
    assert said["after"] == ["bshuf_lz4", [1024, 1024], []]


def test_counters_work_in_measurement_groups_and_by_alias(bliss_values):
    said = bliss_values("""
from bliss import global_map
from bliss.common.measurementgroup import MeasurementGroup
clean(simulator)
simulator.roi_counters.set("roi1", (0, 0, 4, 4))
group = MeasurementGroup("MGtest", {"counters": ["simulator:roi1_sum", "diode"]})
say(group=streams(loopscan(3, 0.01, group)))
global_map.aliases.add("itot", "simulator:roi1_sum")
say(alias=streams(loopscan(3, 0.01, simulator.counters.roi1_sum, save=False)))
clean(simulator)
""")
    assert said["group"]["simulator:roi1_sum"] == 3
    assert "simulator:image" not in said["group"]
    assert said["alias"]["simulator:itot"] == 3


def test_wrong_parameters_are_refused_before_a_scan_starts(bliss_values):
    said = bliss_values("""
det = simulator; clean(det)
loopscan(1, 0.01, diode)
number = session.scans[-1].scan_number
det.roi_counters.set("corner", (1000, 1000, 24, 24))
corner = det.counters.corner_sum
det.image.roi = (0, 0, 512, 512)
roi = failure(lambda: loopscan(2, 0.01, corner))
det.image.reset(); det.roi_counters.clear()
exposure = failure(lambda: loopscan(2, 10_000, det))
det.processing.mask = "/no/such/mask.h5"
mask = failure(lambda: loopscan(2, 0.01, det))
det.processing.reset()
det.saving.raw = "all"
raw = failure(lambda: loopscan(2, 0.01, det))
det.saving.raw = "hits"
hits = failure(lambda: loopscan(2, 0.01, det))
det.saving.reset()
unknown = failure(lambda: det.detector.update({"generator.sed": 1}))
from lima2_bliss.controller import Lima2Detector
twice = failure(lambda: Lima2Detector(dict(det._configuration.model_dump(), name="other")))
loopscan(1, 0.01, diode)
say(roi=roi, exposure=exposure, mask=mask, raw=raw, hits=hits, unknown=unknown, twice=twice,
    numbers=[int(number), int(session.scans[-1].scan_number)])
""")
    for fault, words in {
        "roi": ["'corner'", "not wholly on the image of 512 x 512"],
        "exposure": ["exposure 10000 s is out of range"],
        "mask": ["/no/such/mask.h5"],
        "raw": ["the raw frames of this detector are its images"],
        "hits": ["saving.raw = 'hits' needs a pipeline that finds hits"],
        "unknown": ["did you mean 'generator.seed'"],
        "twice": ["'simulator' and 'other' have the same control"],
    }.items():
        kind, text, _ = said[fault]
        assert kind == "ParameterError", said[fault]
        assert all(word in text for word in words), text
    first, last = said["numbers"]
    assert last == first + 1, "no scan was started in between"


def test_ctrl_c_ends_a_scan_at_once_with_whole_files(bliss_values):
    said = bliss_values("""
det = simulator; clean(det)
det.roi_counters.set("roi1", (0, 0, 4, 4))
say(many=interrupted(lambda: loopscan(100000, 0.005, det), received(det, 25)), file=measurement(session.scans[-1]))
say(endless=interrupted(lambda: timescan(0.01, det, save=False), received(det, 6)))
say(one=interrupted(lambda: loopscan(1, 100, det, save=False), exposing(det)))
say(taken=interrupted(lambda: det.take(0, 0.005), received(det, 25)), taken_file=measurement(session.scans[-1]))
say(after=streams(loopscan(3, 0.01, det, save=False)))
clean(det)
""")
    for name in ("many", "endless", "one", "taken"):
        kind, late_s, _, reason = said[name]
        assert (kind, reason) == ("ScanAbort", "USER_ABORT")
        assert late_s < 2.0
    frames = said["many"][2]["simulator:image"]
    assert frames > 20
    assert said["file"]["simulator"][0] == said["file"]["simulator_roi1_sum"][0] == frames
    assert said["endless"][2]["simulator:image"] > 5
    assert said["taken_file"]["simulator"][0] == said["taken"][2]["simulator:roi1_sum"] > 20
    assert said["after"]["simulator:image"] == 3


def test_after_a_failure_the_next_scan_recovers_by_itself_and_says_so(bliss_values):
    said = bliss_values("""
det = simulator; clean(det)
det.detector["failed_frame_idx"] = 5
failed = failure(lambda: loopscan(50, 0.01, det))
state = det.state.name
det.detector.reset()
Logged.lines.clear()
say(failed=failed, state=state, after=streams(loopscan(6, 0.01, det)), lines=Logged.lines)
""")
    assert said["failed"][0] == "AcquisitionError"
    assert said["failed"][1].startswith("receiver id00/limareceiver/simulator1: ")
    assert said["failed"][1].count("simulator1") == 1
    assert said["state"] == "FAULT"
    assert said["after"]["simulator:image"] == 6
    assert len([line for line in said["lines"] if "has been reset" in line]) == 1


def test_a_killed_receiver_ends_the_scan_with_its_name(bliss_values, stack):
    said = bliss_values("""
det = sim1; clean(det)
ct(0.01, det)
pid = int(tango.DeviceProxy("id00/limareceiver/sim11").read_attribute("pid").value)
threading.Timer(0.5, lambda: os.kill(pid, signal.SIGKILL)).start()
say(killed=failure(lambda: loopscan(2, 30, det)), state=det.state.name, info=det.__info__(),
    logged=list(Logged.lines), again=failure(lambda: loopscan(2, 0.01, det)))
""")
    kind, text, took_s = said["killed"]
    assert (kind, "id00/limareceiver/sim11" in text) == ("ConnectionLostError", True)
    assert text.count("id00/limareceiver/sim11") == 1
    assert said["logged"] == [], "the error says it all"
    assert took_s - 0.5 < 2.0
    assert said["state"] == "DISCONNECTED"
    assert "id00/limareceiver/sim11  not running" in said["info"]
    assert said["again"][0] == "ConnectionLostError"
    assert "id00/limareceiver/sim11" in said["again"][1]
    restart = [sys.executable, "-m", "lima2_bliss.stack.cli", "restart", "lima2_receiver/sim1_1"]
    subprocess.run([*restart, "--state-dir", str(stack.state_dir)], check=True, timeout=30)
    said = bliss_values("say(after=streams(loopscan(3, 0.01, sim1)))")
    assert said["after"]["sim1:image"] == 3
