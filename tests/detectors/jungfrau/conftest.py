"""Makes the helper modules of these tests importable, and lets calibrations be read in their time."""

import sys
from pathlib import Path

import pytest

from lima2_receivers.detectors.jungfrau import calibrations

sys.path.insert(0, str(Path(__file__).parent))  # intake_rig


@pytest.fixture(autouse=True)
def patient_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines without Tango in between may wait."""
    monkeypatch.setattr(calibrations, "READING_S", 60.0)
