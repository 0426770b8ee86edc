"""Two detectors in one scan, with the same names of ROIs and profiles: each value is where its detector is."""

from __future__ import annotations

import h5py
import pytest
from saved_files import broken_links, stamps

pytestmark = pytest.mark.stack


def test_two_detectors_with_the_same_names_have_values_and_files_of_their_own(bliss_values):
    said = bliss_values("""
for each, side in ((sim1, 16), (sim3, 24)):
    clean(each)
    each.detector.update({"size.x": side, "size.y": side, "stamp_frame_number": True})
    each.roi_counters.set("roi0", (0, 0, side, 1))
    each.roi_profiles.set("distance", (0, 0, side, 2), "horizontal")
said = [failure(lambda: sim1.roi_profiles.set(name, (0, 0, 4, 4), "horizontal")) for name in ("hits", "data", "peaks")]
say(refused=said)
SCAN_SAVING.images_prefix, prefix = "run_sim3_", SCAN_SAVING.images_prefix
scan = ascan(robx, 0, 1, 4, 0.005, sim1, sim3, diode)
SCAN_SAVING.images_prefix = prefix
say(file=scan.scan_info["filename"], entry=f"{int(scan.scan_number)}.1",
    streams={name: scan.streams[name][:].tolist() for name in
             ("sim1:roi0_sum", "sim3:roi0_sum", "sim1:distance", "sim3:distance")})
ALIASES.add("intensity", sim3.counters.roi0_sum)
scan = loopscan(3, 0.01, sim1.counters.roi0_sum, sim3.counters.roi0_sum, sim3.counters.image)
say(aliased=measurement(scan), logged=Logged.lines)
ALIASES.remove("intensity")
clean(sim1); clean(sim3)
""")
    for kind, text, _ in said["refused"]:
        assert kind == "ParameterError"
        assert "in the scan file; choose another name" in text
    with h5py.File(said["file"], "r") as file:
        entry = file[said["entry"]]
        assert list(broken_links(entry)) == []
        for detector, side in (("sim1", 16), ("sim3", 24)):
            for name in ("roi0_sum", "distance"):
                values = said["streams"][f"{detector}:{name}"]
                assert entry[f"instrument/{detector}/{name}"][:].tolist() == values
                assert entry[f"measurement/{detector}_{name}"][:].tolist() == values
            assert len(entry[f"measurement/{detector}_distance"][0]) == side
            assert entry[f"measurement/{detector}"].shape == (5, side, side)
            assert stamps(file, f"{said['entry']}/measurement/{detector}") == list(range(5))
            sources = {source.file_name for source in entry[f"instrument/{detector}/image"].virtual_sources()}
            prefix = "run_sim3_sim1" if detector == "sim1" else "run_sim3"
            assert all(prefix in name for name in sources), sources
        assert sorted(name for name in entry["instrument"] if "sim" in name) == ["sim1", "sim3"]
        assert {"robx", "diode"} < set(entry["measurement"])
    assert said["aliased"]["sim3_intensity"] == said["aliased"]["sim1_roi0_sum"] == [3]
    assert said["aliased"]["sim3"] == [3, 24, 24]
    assert said["logged"] == []
