"""The Jungfrau plugin, control and receivers, does what the engine relies on; the wire is the loopback interface."""

from __future__ import annotations

from typing import Any

from lima2_bliss.contract.parameters import AcquisitionParameters
from lima2_receivers.detectors.contract_tests import DetectorContract
from lima2_receivers.detectors.jungfrau import PLUGIN, JungfrauParameters


class TestJungfrau(DetectorContract):
    plugin = PLUGIN

    def parameters(self, **acq: Any) -> AcquisitionParameters:
        return JungfrauParameters.model_validate({"acq": acq, "det": {"beam": {"pattern": "documented"}}})
