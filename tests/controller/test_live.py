"""The live view: images without a scan that give way to any scan, and that nobody has to end."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from blissdata.lima.image_utils import decode_devencoded_video

from lima2_bliss.contract.encoding import encode_lima1_video
from lima2_bliss.controller.displays import available_plots, chosen_plot
from lima2_bliss.controller.live_acquisitions import LiveLimits, live_request, live_settings
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.rois import ProfileRoi, RectRoi
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.controller.smx_settings import SmxSettings

PAGE = Path(__file__).resolve().parents[2] / "doc" / "how-to" / "watch_it_live.md"


def state(**changes) -> DetectorState:
    sections = {"acquisition": AcquisitionSettings(), "image": ImageSettings(), "processing": ProcessingSettings()}
    return DetectorState(**{**sections, "saving": SavingSettings(), **changes})


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [
        (np.array([[0, 65535], [7, 8]], "u2"), [[0, 65535], [7, 8]]),
        (np.array([[1, 255]], "u1"), [[1, 255]]),
        (np.array([[1.4, -2.6, np.nan, np.inf]], "f4"), [[1, -3, -1, 2**31 - 1]]),
        (np.array([[2**32 - 1, 5]], "u4"), [[2**31 - 1, 5]]),
        (np.array([[-(2**40), 2**40]], "i8"), [[-(2**40), 2**40]]),
        (np.array([[-3, 4]], "i2"), [[-3, 4]]),
    ],
)
def test_viewers_of_cameras_read_the_images_in_whole_numbers(pixels, shown):
    image = decode_devencoded_video(encode_lima1_video(pixels, 2**33))
    assert image.frame_id == 2**33
    assert image.array.tolist() == shown


def test_viewers_of_cameras_understand_that_there_is_no_image_yet():
    assert decode_devencoded_video(encode_lima1_video(None, -1)) is None


def test_a_live_view_has_the_images_of_scans_and_saves_nothing():
    smx = state(
        processing=ProcessingSettings(pipeline="smx", mask="/mask.h5", accumulation=2, max_countrate=5.0),
        saving=SavingSettings(raw="hits"),
        detector={"pedestals": {"enabled": True, "path": "/data/dark"}, "gain_mode": "dynamic"},
        rois={"beam": RectRoi(0, 0, 9, 9)},
    )
    live = live_settings(smx)
    assert (live.processing.pipeline, live.processing.mask, live.processing.accumulation) == ("legacy", "/mask.h5", 2)
    assert live.processing.nb_frames_buffer <= 4
    assert (live.saving.enabled, live.saving.raw, live.rois) == (False, "none", {})
    assert live.detector == {"pedestals": {"enabled": False, "path": "/data/dark"}, "gain_mode": "dynamic"}
    assert smx.detector["pedestals"]["enabled"]


@pytest.mark.parametrize(("expo_time", "images"), [(0.001, 250), (0.1, 100), (4.0, 3), (60.0, 1)])
def test_each_acquisition_of_a_live_view_is_short(expo_time, images):
    request = live_request(state(), expo_time, LiveLimits(segment_s=10, period_s=0.04))
    assert request.nb_images == images
    assert request.latency_time + expo_time >= 0.04


def test_views_are_those_that_the_settings_fill():
    assert list(available_plots("det", state())) == ["image"]
    regions = {"rois": {"beam": RectRoi(0, 0, 9, 9)}, "profiles": {"line": ProfileRoi(0, 0, 9, 9, "horizontal")}}
    plots = available_plots("det", state(**regions))
    assert {view: list(plot.channels) for view, plot in plots.items()} == {
        "image": ["det"],
        "rois": ["det:beam_sum"],
        "profiles": ["det:line"],
    }
    smx = state(processing=ProcessingSettings(pipeline="smx"), smx=SmxSettings(accumulated_every=10))
    plots = available_plots("det", smx)
    assert list(plots) == ["image", "hits", "background", "peaks"]
    assert chosen_plot("det", "peaks", plots).channels == ["det:acc_peaks"]
    with pytest.raises(ValueError, match=r"det.view\('rois'\) needs det.roi_counters; .*: 'image', 'hits', 'back"):
        chosen_plot("det", "rois", plots)
    with pytest.raises(ValueError, match=r"det.view\('spots'\) is unknown; .* there are 'image', 'hits', 'background'"):
        chosen_plot("det", "spots", plots)


@pytest.mark.stack
def test_a_live_view_gives_way_to_scans_and_comes_again_if_that_is_wished(bliss_values, tmp_path):
    said = bliss_values(
        """
from blissdata.lima.image_utils import read_video_last_image
from lima2_bliss.controller.live_acquisitions import LiveLimits
det = simulator; clean(det); det.live.resume = False
det.detector.update({"size.x": 64, "size.y": 48, "stamp_frame_number": True, "nb_prefetch_frames": 4})
device = tango.DeviceProxy(det.access_name)
kept = det.take(5, 0.001, save=False)
first = kept.streams["simulator:image"][2].tolist()

def files():
    return sorted(os.path.join(place, name) for place, _, names in os.walk(data_path) for name in names)

# short acquisitions, one after another
before = files()
det.live._acquisitions._limits = LiveLimits(segment_s=0.4, poll_s=0.1)
say(off=det.live.__info__(), wrong=failure(lambda: det.live.start(0)),
    wrong_resume=failure(lambda: setattr(det.live, "resume", 1)))
det.live.start(0.02, flint=False)
seen, read, uuids = [], None, set()
def watched():
    global read
    seen.append(det.live.images)
    uuids.add(device.live_uuid)
    read = read_video_last_image(device) or read
    return det.live.images >= 35 and read is not None and read.frame_id >= 30
wait(watched)
say(seen=[seen == sorted(seen), len(uuids)], on=det.live.__info__(), video=[read.array.shape, str(read.array.dtype)],
    last=det.last_image.shape, live=device.video_live, expo=device.acq_expo_time, running=det.live.running,
    pipelines=[str(each) for each in det.pipelines.__info__().splitlines() if "live view" in each],
    kept=kept.streams["simulator:image"][2].tolist() == first)

saved = [name for name in files() if name not in before]

# settings that change show in the next images
det.image.binning = (2, 2)
wait(lambda: det.live.images and device.video_live and det.last_image.shape == (24, 32))
det.image.reset()

# a scan ends it, gives what it would give without, and is not followed by a live view
started = time.perf_counter()
det.make_way(None)
gave_way = time.perf_counter() - started
state_then = det.state.name
det.live.start(0.02, flint=False)
scan = loopscan(5, 0.005, det)
say(gave_way=gave_way, then=state_then, scan=streams(scan)["simulator:image"], after=det.live.__info__(),
    still=det.live.running, read=int(scan.streams["simulator:image"][4][0, 0]), files=len(det.last_outcome.files))

# with resume it comes again after the scan, also after one that fails, and once only
det.live.resume = True
det.live.start(0.02, flint=False)
scans = [ct(0.01, det), ascan(robx, 0, 1, 2, 0.005, det), det.take(10, 0.002)]
between = det.live.__info__()
wait(lambda: det.live.running and det.live.images > 2)
task = gevent.spawn(failure, det.take(0, 0.01, run=False).run)
wait(lambda: not det.live.running and det.last_outcome.status and det.last_outcome.status.processed)
task.kill(KeyboardInterrupt, block=False)
ended = task.get()[0]
wait(lambda: det.live.running and det.live.images > 2)
say(counts=[streams(scan)["simulator:image"] for scan in scans], between=between, ended=ended,
    again=det.live.expo_time)
det.live.resume = False

# its last image stays after stop, until a scan
started = time.perf_counter()
det.live.stop()
stopped = time.perf_counter() - started
scan_of_live = det.last_image.shape
wait(lambda: not device.video_live)
say(stopped=stopped, last_of_live=scan_of_live, state=det.state.name, story=det.live.__info__(),
    nobody=failure(lambda: setattr(device, "video_live", True)))

# viewers pause it and start it again
det.live.start(0.02, flint=False)
device.video_live = False
wait(lambda: "paused" in det.live.__info__())
exposing = det.state.name
device.acq_expo_time = 0.03
device.video_live = True
wait(lambda: device.video_live and det.live.expo_time == 0.03 and det.live.images > 2)
say(paused=exposing, expo_then=device.acq_expo_time)

# a scan of another session, which knows nothing of this live view
det.make_way, keep = lambda scan: None, det.make_way
scan = ct(0.01, det)
det.make_way = keep
say(other=streams(scan)["simulator:image"], mine=det.live.__info__())

# reset ends it; the session is killed while one runs
det.live.start(0.02, flint=False)
det.reset()
det.live.resume = False
say(reset=det.live.running, warned=Logged.lines, saved=saved)
det.live._acquisitions._limits = LiveLimits(segment_s=2.0, lease_s=1.0)
det.live.start(0.02, flint=False)
wait(lambda: det.live.images > 2)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
""",
        check=False,
    )
    assert "simulator.live: off" in said["off"]
    assert said["wrong"][:2] == ["ParameterError", "simulator.live.start: expo_time = 0 s; give 1e-6 to 3600"]
    assert said["wrong_resume"][1] == "simulator.live.resume = 1; give True or False"
    assert said["seen"][0]
    assert said["seen"][1] >= 2  # acquisitions
    assert said["on"].startswith("simulator.live: on, 0.02 s, ")
    assert said["video"] == [[48, 64], "uint16"]
    assert (said["last"], said["live"], said["expo"], said["running"]) == ([48, 64], True, 0.02, True)
    assert len(said["pipelines"]) == 1  # memory is that of one acquisition, however long the view
    assert said["kept"]  # of the scan before

    assert said["gave_way"] < 0.6  # 0.1 s on a quiet machine
    assert said["then"] == "IDLE"
    assert (said["scan"], said["read"], said["still"], said["files"]) == (5, 4, False, 1)
    assert "off, ended for a scan" in said["after"]
    assert said["counts"] == [1, 3, 10]
    assert "off for a scan, then on again with 0.02 s" in said["between"]
    assert (said["ended"], said["again"]) == ("ScanAbort", 0.02)

    assert said["stopped"] < 2
    assert (said["last_of_live"], said["state"]) == ([48, 64], "IDLE")
    assert "no session runs a live view of this detector; start it there" in said["nobody"][1]
    assert (said["paused"], said["expo_then"]) == ("IDLE", 0.03)
    assert said["other"] == 1
    assert "paused" in said["mine"]
    assert not said["reset"]
    assert said["warned"] == said["saved"] == []

    page = "\n".join(re.findall(r"<!-- run: bliss -->\n```python\n(.*?)\n```", PAGE.read_text(), re.S))
    assert "live.start" in page
    # it is nobody's now: the detector stops by itself, and a session that comes need not care
    after = bliss_values(
        """
det = simulator
control = tango.DeviceProxy(det.control_name)
device = tango.DeviceProxy(det.access_name)
wait(lambda: control.finished)
acquired = control.nb_frames_acquired
scan = loopscan(3, 0.005, det)
say(live=device.video_live, acquired=acquired, images=streams(scan)["simulator:image"], warned=Logged.lines)
clean(det)
"""
        + page
        + """
say(page=[streams(scan)["simulator:image"], simulator.live.running, simulator.live.images >= 5])
"""
    )
    assert after.pop("page") == [3, False, True]
    assert after == {"live": False, "acquired": 50, "images": 3, "warned": []}
