"""The simulator's PONI file says where its spots really are."""

import numpy as np
import pyFAI
import pytest

from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.simulator import SimulatorParameters
from lima2_receivers.detectors.simulator.diffraction import beam
from lima2_receivers.detectors.simulator.params import PIXEL_SIZE_M
from lima2_receivers.detectors.simulator.poni import poni_text


@pytest.mark.parametrize("place", [{}, {"x0": 20.0, "y0": 70.25, "source_pos_x": 1.5}])
def test_pyfai_puts_the_beam_where_the_simulator_does(tmp_path, place):
    det = {
        "size": {"x": 96, "y": 120},
        "generator": {"type": "diffraction", "diffraction": {"distance_m": 0.2, **place}},
    }
    parameters = parse(SimulatorParameters, {"det": det}, "parameters")
    path = tmp_path / "simulator.poni"
    path.write_text(poni_text(parameters))
    geometry = pyFAI.load(str(path))
    x, y = beam(parameters, 0)
    assert geometry.detector.shape == (120, 96)
    assert geometry.dist == 0.2
    assert geometry.wavelength == pytest.approx(1e-10)
    radius = geometry.array_from_unit(typ="center", unit="r_m", scale=False)
    rows, columns = np.mgrid[:120, :96]
    expected = np.hypot(rows - y, columns - x) * PIXEL_SIZE_M
    assert np.allclose(radius, expected, atol=1e-9)
