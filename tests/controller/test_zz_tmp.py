"""Scans with the SMX pipeline: hits as the simulator made them, spots, files, and what is refused beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_receivers.detectors.simulator import SimulatorParameters, truth

pytestmark = pytest.mark.stack

FRAMES = 40
SIDE = 512
DETECTOR = {
    "size": {"x": SIDE, "y": SIDE},
    "nb_prefetch_frames": 20,
    "generator": {"type": "diffraction", "diffraction": {"hit_rate": 0.4}},
}
#: The simulator's beam is in the middle, its pixels are 75 um wide; pyFAI counts from the pixels' edges.
PONI = """\
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 7.5e-05, "max_shape": [512, 512], "orientation": 3}
Distance: 0.1
Poni1: 0.0192
Poni2: 0.0192
Rot1: 0
Rot2: 0
Rot3: 0
Wavelength: 1e-10
"""

#: A detector that diffracts, and its geometry; `read(scan, name)` is a stream of the detector.
SETUP = f"""
det = simulator; clean(det); clean(sim1)
det.detector.update({{"size.x": {SIDE}, "size.y": {SIDE}, "nb_prefetch_frames": 20,
                      "generator.type": "diffraction", "generator.diffraction.hit_rate": 0.4}})
poni = data_path + "/geometry.poni"
with open(poni, "w") as file:
    file.write({PONI!r})
det.processing.pipeline = "smx"
det.smx.update({{"poni": poni, "bins": 200, "backend": "cpu", "accumulated_every": 10}})

def read(scan, name):
    return scan.streams["simulator:" + name][:]
"""


def hits(frames: int = FRAMES) -> list[bool]:
    parameters = SimulatorParameters.model_validate({"det": DETECTOR})
    return [truth(parameters, index).hit for index in range(frames)]



import json
@pytest.mark.parametrize("part", ['master', 'scanfile', 'nosave', 'nothing', 'glob'])
def test_part(run_bliss, part):
    import importlib.util as u, pathlib
    sp=u.spec_from_file_location("cc", pathlib.Path(__file__).parent/"conftest.py"); m=u.module_from_spec(sp); sp.loader.exec_module(m); TOOLS=m.TOOLS
    import pathlib
    parts={'master': 'with h5py.File(det.last_outcome.files["frame"]) as file:\n    file["entry_0000/instrument/simulator/data"][:]\n', 'scanfile': 'with h5py.File(scan.scan_info["filename"]) as file:\n    file[f"{int(scan.scan_number)}.1/instrument/simulator/image"][:]\n', 'nosave': 'scan = loopscan(4, 0.01, det, save=False)\n', 'nothing': '', 'glob': 'from pathlib import Path\nlist(Path(data_path).rglob("*.h5"))\n'}
    run_bliss(TOOLS + SETUP + "det.smx.update({'save_dense': 'hits', 'save_accumulated': False})\nscan = det.take(40, 0.01)\n" + parts[part] + "clean(det)\n")
