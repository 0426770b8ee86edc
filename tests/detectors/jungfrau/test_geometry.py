"""The geometry parameters of a Jungfrau."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lima2_receivers.detectors.jungfrau.geometry import Geometry


def test_the_defaults_are_a_4m():
    assert Geometry().layout.image_shape == (2164, 2068)
    assert Geometry(module_gap_x=9).layout.image_shape == (2164, 2069)
    assert Geometry(module_rows=1, module_columns=1).layout.image_shape == (514, 1030)


def test_unknown_and_impossible_parameters_are_refused():
    for wrong in ({"gap": 2}, {"module_rows": 0}, {"flip": "sideways"}, {"double_pixels": "half"}):
        with pytest.raises(ValidationError):
            Geometry(**wrong)
