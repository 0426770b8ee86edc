"""A map is looked at before a scan needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.pipelines.maps import describe_map


def test_shape_type_and_masked_pixels_are_told(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6), "u1")
    pixels[0] = 3
    np.save(tmp_path / "mask.npy", pixels)

    found = describe_map(str(tmp_path / "mask.npy"), "map")

    assert (found.shape, found.dtype, found.nonzero, found.size) == ((4, 6), "uint8", 6, 24)


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"there is no file .*gone\.npy \(on the receiver's host\)"):
        describe_map(str(tmp_path / "gone.npy"), "map")
    np.save(tmp_path / "line.npy", np.zeros(5))
    with pytest.raises(ParameterError, match="a map is an image"):
        describe_map(str(tmp_path / "line.npy"), "map")
