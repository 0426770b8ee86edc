"""What the shell shows of a series of images while it is taken, and at its end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lima2_bliss.client.status import ReceiverStatus
from lima2_bliss.contract.wire import Counts, PipelineStatus
from lima2_bliss.controller.progress import ImagesTaken, duration_text, fullest, progress_table
from lima2_bliss.controller.rate import ImageRate

RUNNING = ("class:info", "RUNNING")


def text(detectors: list[ImagesTaken], width: int) -> list[str]:
    return ["".join(cell for _, cell in line) for line in progress_table("take:", RUNNING, detectors, width)]


def test_the_rate_is_that_of_the_last_seconds_and_of_all():
    rate = ImageRate(window_s=4.0)
    assert rate.present(0.0) is rate.mean is None
    for step in range(1, 101):  # 10 images/s, then 100
        rate.note(step, at=step / 10)
    assert rate.present(10.0) == pytest.approx(10)
    for step in range(1, 501):
        rate.note(100 + step, at=10 + step / 100)
    assert rate.present(15.0) == pytest.approx(100, rel=0.01)
    assert rate.mean == pytest.approx(599 / 14.9)
    assert rate.duration_s == pytest.approx(14.9)
    assert rate.present(17.0) < 60 < 100  # none came for two seconds
    assert rate.present(3600.0) < 0.1


def test_the_rate_of_slow_images_is_known_though_the_window_is_shorter():
    rate = ImageRate(window_s=4.0)
    for image in range(1, 4):
        rate.note(image, at=image * 10.0)
        rate.note(image, at=image * 10.0 + 1)  # no news
    assert rate.present(35.0) == pytest.approx(0.1)


def test_one_detector_is_a_line_that_fits_a_narrow_terminal():
    taken = ImagesTaken("simulator", 12345, 150000, 1000.4, 137.6, 1234, 0.031)
    head, line = text([taken], 80)
    assert head.split() == ["take:", "state", "images", "done", "images/s", "hits", "left", "buffer"]
    assert line.split()[:4] == ["simulator", "RUNNING", "12345/150000", "8%"]
    assert len(head) == len(line) <= 80
    full = len(head)
    head, line = text([taken], full - 1)
    assert head.split() == ["take:", "state", "images", "images/s", "hits", "left", "buffer"]
    head, line = text([taken], full - 8)
    assert line.split() == ["simulator", "12345/150000", "1000", "1234", "(10.0%)", "2:18", "3%"]
    # digits that come do not move what stands right of them
    few, many = (text([ImagesTaken("a", images, 1000)], 80)[1] for images in (9, 999))
    assert len(few) == len(many)
    assert few.index("/1000") == many.index("/1000")


def test_lost_frames_and_a_full_buffer_stand_out_among_several_detectors():
    good = ImagesTaken("sim1", 40, 100, 9.96, 6.0)
    bad = ImagesTaken("jungfrau4m", 38, 0, 9.5, None, None, 0.9, 12)
    lines = progress_table("take:", RUNNING, [good, bad], 90)
    assert [len("".join(cell for _, cell in line)) for line in lines].count(len(text([good, bad], 90)[0])) == 3
    assert [cell[1].strip() for cell in lines[0]][-3:] == ["left", "buffer", "lost"]
    assert [cell[1].strip() for cell in lines[1]][-3:] == ["6 s", "0%", ""]
    assert [(style, cell.strip()) for style, cell in lines[2]][-2:] == [("class:danger", "90%"), ("class:danger", "12")]
    assert text([good], 90)[0].split()[-1] == "buffer"  # no column for what there is none of


def test_times_to_wait_are_short_texts():
    assert [duration_text(seconds) for seconds in (0.4, 59, 61, 3725)] == ["0 s", "59 s", "1:01", "1:02:05"]


@pytest.mark.parametrize(("saved", "share"), [(True, 0.5), (False, 0.2)])
def test_the_fullest_receiver_counts_with_what_waits_to_be_saved(saved, share):
    counts = [Counts(processed=50, saved=50, waiting=20), Counts(processed=50, saved=0, waiting=3)]
    receivers = [ReceiverStatus(str(rank), rank, PipelineStatus(uuid="", counts=c)) for rank, c in enumerate(counts)]
    acquisition = SimpleNamespace(
        processing_parameters={"fifo": {"nb_fifo_frames": 100}}, master_files={"frame": "file"} if saved else {}
    )
    assert fullest(acquisition, SimpleNamespace(receivers=receivers)) == share  # type: ignore[arg-type]


@pytest.mark.stack
def test_images_hits_and_rate_of_a_series_are_shown_while_it_is_taken(bliss_values):
    said = bliss_values("""
from lima2_bliss.controller.progress import ImagesProgress
import shutil
shutil.get_terminal_size = lambda: os.terminal_size((100, 40))
clean(simulator)
det = simulator
det.detector.update({"size.x": 256, "size.y": 256, "generator.type": "diffraction", "nb_prefetch_frames": 8,
                     "generator.diffraction.hit_rate": 0.5})
with open(data_path + "/geometry.poni", "w") as file:
    file.write(det.command("poni", det.settings_now().detector))
det.processing.pipeline = "smx"
det.smx.update({"poni": data_path + "/geometry.poni", "bins": 100, "backend": "cpu"})
scan = det.take(100, 0.02, run=False)
progress = ImagesProgress()
progress._scan, progress._scan_type = scan, "take"
def shown():
    lines, text = progress.build_progress_message()
    return lines, "".join(part for _, part in text)
before = shown()
task = gevent.spawn(scan.run)
wait(lambda: task.ready() or (det.last_outcome.status and 40 <= det.last_outcome.status.processed))
during = shown()
task.get()
(master,) = (each for each in scan.acq_chain.nodes_list if each.name == "simulator")
hits = int(scan.streams["simulator:is_hit"][:].sum())
say(before=before, during=during, after=shown(), hits=hits, counted=det.last_outcome.status.hits,
    end=master.end_lines(), told=det.last_outcome.hits.hits)
clean(det)
""")
    assert said["before"][0] == 2
    assert said["before"][1].splitlines()[1].split()[:3] == ["simulator", "IDLE", "0/100"]
    head, line = said["during"][1].splitlines()
    assert head.split() == ["take:", "state", "images", "done", "images/s", "hits", "left", "buffer"]
    name, state, images, done, rate, hits, share, left, unit, _ = line.split()
    assert (name, state, unit) == ("simulator", "RUNNING", "s")
    assert int(done.removesuffix("%")) == int(images.split("/")[0]) >= 40
    assert 10 < float(rate) < 60
    assert 0 <= int(left) <= 6
    assert int(hits) / int(images.split("/")[0]) == pytest.approx(float(share.strip("(%)")) / 100, abs=0.001)
    assert 0 < said["hits"] == said["counted"] == said["told"] < 100
    assert f"{said['hits']} ({said['hits']}.0%)" in said["after"][1]
    first = said["end"][0].split()
    assert first[:3] + first[-1:] == ["100", "images", "in", "images/s"]
    assert 1.9 < float(first[3]) < 10
    assert float(first[3]) * float(first[5]) == pytest.approx(99, rel=0.3)
    assert said["end"][1].startswith(f"{said['hits']} hits")
