"""Simulated diffraction of a crystal, 12 frames of which half are hits, with its geometry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.contract.parameters import SmxParameters
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame, truth
from lima2_receivers.detectors.simulator.poni import poni_text

NB_FRAMES = 12


@dataclass(frozen=True)
class Crystal:
    """``frames``: uint16 (n, 256, 256); ``hits``: bool (n); ``poni``: path of the geometry."""

    frames: np.ndarray
    hits: np.ndarray
    poni: Path

    def processing(self, **sections: dict) -> SmxParameters:
        fai = {"poni_path": str(self.poni), "nb_bins": 100, **sections.pop("fai", {})}
        return SmxParameters.model_validate({"compute": {"backend": "reference"}, "fai": fai, **sections})


@pytest.fixture(scope="session")
def crystal(tmp_path_factory: pytest.TempPathFactory) -> Crystal:
    generator = {
        "type": "diffraction",
        "seed": 3,
        "diffraction": {"distance_m": 0.05, "spot_intensity": 250, "hit_rate": 0.5},
    }
    det = {"size": {"x": 256, "y": 256}, "nb_prefetch_frames": NB_FRAMES, "generator": generator}
    simulated = SimulatorParameters.model_validate({"det": det})
    poni = tmp_path_factory.mktemp("geometry") / "crystal.poni"
    poni.write_text(poni_text(simulated))
    return Crystal(
        np.stack([expected_frame(simulated, index)[0] for index in range(NB_FRAMES)]),
        np.array([truth(simulated, index).hit for index in range(NB_FRAMES)]),
        poni,
    )
