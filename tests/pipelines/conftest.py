"""Geometry files as users have them, and a cache of prepared geometries for each test."""

import json

import numpy as np
import pytest

PONI = """poni_version: 2.1
Detector: {detector}
Detector_config: {config}
Distance: 0.1
Poni1: 0.0081
Poni2: 0.0062
Rot1: 0
Rot2: 0
Rot3: 0
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMA2_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def poni(tmp_path):
    """Writes a PONI file; the detector takes any shape unless one is given."""

    def write(shape=None, detector="Detector", wavelength=True, config=None) -> str:
        if config is None:
            config = {"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": shape, "orientation": 3}
        path = tmp_path / "geometry.poni"
        text = PONI.format(detector=detector, config=json.dumps(config))
        path.write_text(text + ("Wavelength: 1e-10\n" if wavelength else ""))
        return str(path)

    return write


@pytest.fixture
def saved(tmp_path):
    def save(name: str, array) -> str:
        np.save(tmp_path / f"{name}.npy", np.asarray(array))
        return str(tmp_path / f"{name}.npy")

    return save
