"""The geometry parameters of a Jungfrau."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lima2_receivers.detectors.jungfrau.geometry import Geometry


def test_gaps_make_the_image_larger_than_its_modules():
    assert Geometry().layout.image_shape == (514, 1030)
    assert Geometry(module_rows=4, module_columns=2).layout.image_shape == (2164, 2068)
    assert Geometry(module_rows=4, module_columns=2, module_gap_x=9).layout.image_shape == (2164, 2069)


def test_unknown_and_impossible_parameters_are_refused():
    for wrong in ({"gap": 2}, {"module_rows": 0}, {"flip": "sideways"}, {"double_pixels": "half"}):
        with pytest.raises(ValidationError):
            Geometry(**wrong)
