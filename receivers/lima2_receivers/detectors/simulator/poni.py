"""The geometry of the simulated diffraction as a PONI file, pyFAI's description of an experiment (version 2.1)."""

from __future__ import annotations

import json

from lima2_receivers.detectors.simulator.params import PIXEL_SIZE_M, SimulatorParameters


def poni_text(parameters: SimulatorParameters) -> str:
    """Text of the PONI file: flat detector across the beam, pixel centres at half integers as pyFAI counts them.

    The beam is where the first prefetched frame has it; a source that moves is not described.
    """
    crystal, size = parameters.det.generator.diffraction, parameters.det.size
    x = (crystal.x0 if crystal.x0 >= 0 else (size.x - 1) / 2) + crystal.source_pos_x
    y = (crystal.y0 if crystal.y0 >= 0 else (size.y - 1) / 2) + crystal.source_pos_y
    detector = {"pixel1": PIXEL_SIZE_M, "pixel2": PIXEL_SIZE_M, "max_shape": [size.y, size.x], "orientation": 3}
    lines = [
        "# Geometry of the lima2-bliss detector simulator",
        "poni_version: 2.1",
        "Detector: Detector",
        f"Detector_config: {json.dumps(detector)}",
        f"Distance: {crystal.distance_m!r}",
        f"Poni1: {(y + 0.5) * PIXEL_SIZE_M!r}",
        f"Poni2: {(x + 0.5) * PIXEL_SIZE_M!r}",
        "Rot1: 0.0",
        "Rot2: 0.0",
        "Rot3: 0.0",
        f"Wavelength: {crystal.wavelength_nm * 1e-9!r}",
    ]
    return "\n".join(lines) + "\n"
