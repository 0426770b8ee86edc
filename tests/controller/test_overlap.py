"""Scans that overlap: the next one begins while the images of the one before are still being saved."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

#: Noise takes the receivers much longer to compress than to receive.
SLOW_TO_SAVE = """
def slow_to_save(det):
    clean(det)
    det.detector.update({"size.x": 1024, "size.y": 1024, "generator.type": "diffraction", "nb_prefetch_frames": 2,
                         "generator.diffraction.hit_rate": 0.0, "stamp_frame_number": True})
    det.processing.update({"nb_fifo_frames": 180, "nb_frames_buffer": 10, "nb_input_frames_buffer": 2})
    det.saving.update({"compression": "gzip", "frames_per_file": 10})
    det.roi_counters.set("number", (0, 0, 1, 1))
    det.acquisition.overlap = 2

def numbers(scan, det):
    "Frame numbers in the scan file, read through its link to the images."
    with h5py.File(scan.scan_info["filename"]) as file:
        return file[f"{int(scan.scan_number)}.1/measurement/{det.name}"][:, 0, 0].tolist()

def told(scan, det):
    "What the scan file says of the saving, and of files to come."
    with h5py.File(scan.scan_info["filename"]) as file:
        group = file[f"{int(scan.scan_number)}.1/instrument/{det.name}/acquisition"]
        return [group["saving_when_scan_ended"].asstr()[()], sorted(group.get("files_when_saved", {}))]

def values(scan, det):
    return list(map(int, scan.get_data(f"{det.name}:number_max")))
"""


def test_the_next_scan_runs_while_the_images_of_the_last_are_saved(bliss_values):
    said = bliss_values(
        SLOW_TO_SAVE
        + """
for det in (simulator, sim1):
    slow_to_save(det)
    scans = [det.take(150, 0.001)]
    try:
        early = numbers(scans[0], det)
    except KeyError:
        early = "not there"
    stages = [det.pipelines[-1].stage]
    lines = [line for line in det.__info__().splitlines() if "being saved" in line]
    scans.append(det.take(150, 0.001))
    alive = det.pipelines.read()
    both = [int(each.frame(149)[0, 0]) for each in alive]
    bulk = [index for index, _ in alive[0].frames(slice(140, 150))]
    det.reset()  # of no effect on what is being saved
    det.pipelines.wait(60)
    say(**{det.name: {
        "stages": stages, "early": early, "lines": lines, "both": both, "bulk": bulk,
        "streams": [streams(scan)[f"{det.name}:{name}"] for scan in scans for name in ("image", "number_max")],
        "values": [values(scan, det) for scan in scans], "files": [numbers(scan, det) for scan in scans],
        "told": [told(scan, det) for scan in scans], "ends": [str(scan.scan_info["end_reason"]) for scan in scans],
        "left": len(det.unsaved_scans), "stage": det.pipelines[-1].stage}})
    det.acquisition.overlap = 0
    last = det.take(4, 0.001)
    say(**{f"{det.name}_last": [told(last, det), numbers(last, det)]})

# what cannot be saved is told at once, and once more by the next scan; that one is as good as any
det = simulator; det.acquisition.overlap = 1
det.processing.nb_fifo_frames = 300
lost = det.take(300, 0.001)
directory = det.last_outcome.pending["frame"].parent
directory.rename(directory.with_name("gone"))
wait(lambda: not len(det.unsaved_scans))
at_once = list(Logged.lines); Logged.lines.clear()
good = det.take(4, 0.001)
say(at_once=at_once, next_scan=list(Logged.lines), lost=int(lost.scan_number), good=[str(good.scan_info["end_reason"])])
det.pipelines.wait(); say(good_files=numbers(good, det))

# the session ends while images are saved
det.take(300, 0.001)
say(at_end=[str(path) for path in det.unsaved_scans.files()])
clean(det); clean(sim1)
""",
        timeout_s=180,
    )
    everything = list(range(150))
    for name in ("simulator", "sim1"):
        got = said[name]
        assert got["stages"][0] in ("saving", "finished")
        assert got["early"] in ("not there", everything)  # never images of zeros
        assert all("images are still being saved; when complete they are in" in line for line in got["lines"])
        assert got["both"] == [149, 149]
        assert got["bulk"] == everything[140:]
        assert got["streams"] == [150] * 4
        assert got["values"] == [everything] * 2
        assert got["files"] == [everything] * 2
        assert got["told"] == [["going on", ["frame"]]] * 2
        assert got["ends"] == ["SUCCESS"] * 2
        assert (got["left"], got["stage"]) == (0, "finished")
        assert said[f"{name}_last"] == [["complete", []], [0, 1, 2, 3]]
    assert f"the images of scan {said['lost']}: simulator.take(300, 0.001) are not all saved" in said["at_once"][-1]
    assert f"before this scan, the images of scan {said['lost']}" in said["next_scan"][0]
    assert said["good"] == ["SUCCESS"]
    assert said["good_files"] == [0, 1, 2, 3]
    assert said["at_end"]
    assert all(Path(path).is_file() for path in said["at_end"])


def test_memory_is_waited_for_while_scans_are_saved_and_else_refused_in_one_sentence(bliss_values):
    said = bliss_values(
        SLOW_TO_SAVE
        + """
det = simulator; slow_to_save(det); det.acquisition.overlap = 3
det.pipelines.erase("all")
budget = min(det.pipelines.budget.values())
each = budget * 2 // 5 // (1 << 21)  # frames of 2 MiB: two acquisitions have room, three have not
det.processing.nb_input_frames_buffer = min(each, 100_000)
scans = [det.take(60, 0.001) for _ in range(3)]
uuids = [each.uuid for each in det.pipelines.read()]
held = [each.overview for each in det.receivers.read()]
say(room=each <= 100_000, alive=len(uuids), budget=budget,
    used=[[each.used_bytes, sum(part.memory_bytes for part in each.pipelines)] for each in held])
det.pipelines.wait()
det.processing.nb_input_frames_buffer = 3 * min(each, 100_000)
say(refused=failure(lambda: det.take(1, 0.001)), left=det.pipelines.keys()[-1] == uuids[-1])
say(files=[numbers(scan, det) == list(range(60)) for scan in scans])
det.pipelines.erase("all")
say(erased=[each.overview.used_bytes for each in det.receivers.read()])
clean(det)
""",
        timeout_s=180,
    )
    assert said["room"], "this host has so much memory that its budget cannot be passed"
    assert said["alive"] == 2
    for used, of_pipelines in said["used"]:
        assert used == of_pipelines
        assert used <= said["budget"]
    assert said["refused"][0] == "ParameterError"
    for words in ("need", "memory budget of", "are used", "fewer buffers", "memory_budget_mb"):
        assert words in said["refused"][1]
    assert said["left"]
    assert said["files"] == [True] * 3
    assert said["erased"] == [0, 0]
