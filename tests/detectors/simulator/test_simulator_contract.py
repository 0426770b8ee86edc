"""The simulator is a detector plugin like any other."""

from lima2_receivers.detectors.contract_tests import DetectorContract
from lima2_receivers.detectors.simulator import PLUGIN, SimulatorParameters


class TestSimulatorContract(DetectorContract):
    plugin = PLUGIN

    def parameters(self, **acq):
        return SimulatorParameters.model_validate({"acq": acq, "det": {"size": {"x": 32, "y": 16}}})
