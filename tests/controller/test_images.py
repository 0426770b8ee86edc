"""What a scan does to its images: accumulation, geometry, corrections, and what files and counters say of it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stack


def test_images_are_what_the_settings_make_of_the_exposures(bliss_values):
    said = bliss_values("""
det = simulator; clean(det); clean(sim1)
det.detector.update({"size.x": 48, "size.y": 32, "stamp_frame_number": True, "nb_prefetch_frames": 4,
                     "generator.gauss.grow_factor": 1.0})

def images(scan, detector="simulator"):
    with h5py.File(scan.scan_info["filename"]) as file:
        return file[f"{int(scan.scan_number)}.1/instrument/{detector}/image"][:]

raw = images(det.take(18, 0.002)).astype(int)
say(different=len({frame.sum() for frame in raw}))

det.roi_counters.set("whole", (0, 0, 48, 32))
det.processing.accumulation = 3
scan = loopscan(6, 0.01, det)
sums = raw.reshape(6, 3, 32, 48).sum(axis=1)
say(accumulated=bool((images(scan) == sums).all()), stamps=images(scan)[:, 0, 0].tolist(),
    counted=bool((scan.streams["simulator:whole_sum"][:] == sums.sum(axis=(1, 2))).all()))
det.processing.reset()

det.acquisition.frames_per_point = 3
scan = ascan(robx, 0, 1, 1, 0.005, det)
say(per_point=[streams(scan)[name] for name in ("axis:robx", "simulator:image", "simulator:whole_sum")],
    same=bool((images(scan) == raw[:6]).all()))
det.acquisition.reset()

det.roi_counters.clear()
det.image.update({"binning": (2, 1), "roi": (2, 1, 16, 10), "flip": "left_right", "rotation": "90cw"})
det.roi_counters.set("corner", (0, 0, 3, 5))
det.roi_profiles.set("columns", (0, 0, 10, 4), "horizontal")
scan = loopscan(4, 0.01, det)
turned = np.rot90(raw[:4].reshape(4, 32, 24, 2).sum(axis=3)[:, 1:11, 2:18][:, :, ::-1], -1, axes=(1, 2))
say(turned=bool((images(scan) == turned).all()), info=det.__info__(),
    corner=bool((scan.streams["simulator:corner_sum"][:] == turned[:, :5, :3].sum(axis=(1, 2))).all()),
    columns=bool((scan.streams["simulator:columns"][:] == turned[:, :4].sum(axis=1)).all()))
with h5py.File(scan.scan_info["filename"]) as file:
    group = file[f"{int(scan.scan_number)}.1/instrument/simulator"]
    say(geometry={name: group["geometry"][name][()].tolist() for name in ("binning", "roi", "width", "height")},
        pixel=[float(group["x_pixel_size"][()]), float(group["y_pixel_size"][()])])
with h5py.File(det.last_outcome.files["frame"]) as file:
    said = file["entry_0000/instrument/simulator/params/acquisition/img"]
    say(image_file=[int(said["binning/x"][()]), int(said["roi/dimensions/x"][()]), said["flip"].asstr()[()],
                    said["rotation"].asstr()[()]])
det.image.reset(); det.roi_counters.clear(); det.roi_profiles.clear()

maps = {"mask": np.zeros((32, 48), "u1"), "dark": np.full((32, 48), 2.5, "f4"), "flat": np.full((32, 48), 2.0, "f4")}
maps["mask"][:4] = 1
with h5py.File(data_path + "/maps.h5", "w") as file:
    for name, values in maps.items():
        file[name] = values
for setting, name in (("mask", "mask"), ("background", "dark"), ("flatfield", "flat")):
    setattr(det.processing, setting, f"{data_path}/maps.h5::/{name}")
scan = loopscan(3, 0.01, det)
corrected = (raw[:3] - 2.5) / 2.0
corrected[:, :4] = 0
say(corrected=bool(np.allclose(images(scan), corrected)), named=det.__info__())
clean(det)

det.detector.update({"size.x": 48, "size.y": 32, "stamp_frame_number": True})
sim1.detector.update({"size.x": 32, "size.y": 16, "stamp_frame_number": True})
det.processing.accumulation = 2
scan = ascan(robx, 0, 1, 4, 0.01, det, sim1)
say(two=[images(scan)[:, 0, 0].tolist(), images(scan, "sim1")[:, 0, 0].tolist()])
clean(det); clean(sim1)
""")
    assert said["different"] > 1
    assert said["accumulated"]
    assert said["counted"]
    assert said["stamps"] == [3, 12, 21, 30, 39, 48]
    assert said["per_point"] == [2, 6, 6]
    assert said["same"]
    assert said["turned"]
    assert said["corner"]
    assert said["columns"]
    assert "binned 2 x 1, then cut to x=2 y=1 width=16 height=10, then flipped left-right" in said["info"]
    assert said["geometry"]["binning"] == [2, 1]
    assert said["geometry"]["roi"] == [2, 1, 16, 10]
    assert (said["geometry"]["width"], said["geometry"]["height"]) == (10, 16)
    assert said["pixel"] == pytest.approx([75e-6, 150e-6]), "a quarter turn swaps x and y"
    assert said["image_file"] == [2, 16, "left_right", "90cw"]
    assert said["corrected"]
    assert "dark " in said["named"]
    assert "maps.h5::/dark" in said["named"]
    assert said["two"] == [[1, 5, 9, 13, 17], [0, 1, 2, 3, 4]]
