"""det.topology, .receivers, .mask, .pipelines and .settings on a living detector."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stack


def test_a_session_looks_at_its_detector_and_keeps_settings(bliss_values):
    said = bliss_values("""
det = simulator; clean(det)
det.detector.update({"size.x": 64, "size.y": 32})
say(names=[name for name in ("topology", "receivers", "mask", "pipelines", "settings") if name in dir(det)],
    topology=det.topology.__info__())

# a mask is looked at by a receiver before it is accepted
mask = np.zeros((32, 64), "u1"); mask[:2] = 1
np.save(data_path + "/mask.npy", mask); np.save(data_path + "/turned.npy", mask.T)
det.mask = data_path + "/mask.npy"
say(mask=det.mask.__info__(), fraction=det.mask.masked_fraction,
    gone=failure(lambda: det.mask.set("/gone.npy")), kept=[det.processing.mask, det.smx.mask])
os.chdir(data_path)
say(relative=failure(lambda: det.mask.set("turned.npy")))

# settings under a name
det.settings.list() and [det.settings.remove(name) for name in det.settings.list()]
det.settings.save("masked")
det.mask = None
det.roi_counters.set("number", (0, 0, 1, 1))
say(compared=det.settings.compare("masked").__info__(), sets=det.settings.__info__())
det.settings.load("masked")
say(loaded=det.mask.file, counters=[name for name in dir(det.counters) if name.startswith("number")])
det.settings.remove("masked")

# what is alive on the receivers
[det.pipelines.erase("all")]
first = loopscan(4, 0.01, det, save=False)
uuid = det.last_outcome.uuid
say(uuid=uuid, receivers=det.receivers.__info__(), pipelines=det.pipelines.__info__(),
    title=f"{int(first.scan_number)}: {first.scan_info['title']}")
say(held=[each.overview.used_bytes for each in det.receivers.read()])

# a running acquisition is not erased
endless = gevent.spawn(lambda: failure(lambda: det.take(0, 0.01, save=False)))
ready = received(det, 3)
wait(ready)
running = det.pipelines.keys()[-1]
say(erase_running=failure(lambda: det.pipelines.erase(running)), erased=det.pipelines.erase("all"))
say(left=len(det.pipelines))
endless.kill(KeyboardInterrupt, block=False); endless.get()

# a receiver that hangs does not keep anybody waiting
pid = det.receivers[1].overview.pid
os.kill(pid, signal.SIGSTOP)
try:
    say(hanging=failure(lambda: say(silent=det.receivers.__info__(), still=det.pipelines.__info__())))
    say(states=failure(lambda: say(known=[str(state.name) for state in det.device_states().values()])))
finally:
    os.kill(pid, signal.SIGCONT)
say(after=det.pipelines.erase("all"), freed=[each.overview.used_bytes for each in det.receivers.read()])
clean(det)
""")
    assert said["names"] == ["topology", "receivers", "mask", "pipelines", "settings"]
    assert "round robin over 2 receivers" in said["topology"]
    assert said["topology"].count("tcp://") >= 2

    assert "64 x 32 pixels (width x height), uint8" in said["mask"]
    assert "128 pixels, 6.25%" in said["mask"]
    assert said["fraction"] == 0.0625
    assert said["gone"][0] == "ParameterError"
    assert "there is no file /gone.npy (on the receiver's host)" in said["gone"][1]
    assert "has 32 x 64 pixels, but the detector has 64 x 32" in said["relative"][1]
    assert [path.endswith("/mask.npy") for path in said["kept"]] == [True, True]

    assert "roi_counters.number" in said["compared"]
    assert "masked" in said["sets"]
    assert said["loaded"].endswith("/mask.npy")
    assert said["counters"] == []

    rows = [line.split() for line in said["receivers"].splitlines()[2:]]
    assert [row[5:9] for row in rows] == [["2", "2", "0", "0"]] * 2
    assert said["uuid"] in said["pipelines"]
    assert said["title"] in said["pipelines"]
    assert "4 of 4" in said["pipelines"]
    assert min(said["held"]) > 0

    assert said["erase_running"][0] == "StateError"
    assert "still runs on" in said["erase_running"][1]
    assert said["left"] == 1
    assert said["hanging"][0] == "none"
    assert said["hanging"][2] < 9
    assert "simulator2 did not answer within 3 s" in said["silent"]
    assert "simulator2 did not answer within 3 s" in said["still"]
    assert said["known"] == ["IDLE", "IDLE", "OFFLINE"]
    assert said["states"][2] < 9
    assert said["freed"] == [0, 0]
