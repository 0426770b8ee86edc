"""A device that needs a moment is asked again; anything else is told at once."""

import pytest

from lima2_bliss.client.concurrency import Outcome
from lima2_bliss.client.errors_by_device import raise_failures, raise_refusals
from lima2_bliss.client.readiness import when_ready
from lima2_bliss.contract import NotReadyError, ParameterError


class Device:
    """Needs so many moments before it answers."""

    def __init__(self, moments: int) -> None:
        self.moments, self.asked = moments, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.moments:
            raise NotReadyError("the calibration is being read")
        return "ready"


def test_a_device_that_needs_a_moment_is_asked_again():
    device = Device(3)
    assert when_ready(device, period_s=0.001) == "ready"
    assert device.asked == 4


def test_patience_has_an_end():
    with pytest.raises(NotReadyError, match="is being read"):
        when_ready(Device(10**9), patience_s=0.02, period_s=0.001)


@pytest.mark.parametrize("raise_them", [raise_refusals, lambda outcomes: raise_failures(outcomes, "prepare")])
def test_asking_again_is_no_answer_to_a_wrong_parameter(raise_them):
    outcomes = {"a": Outcome(error=NotReadyError("being read")), "b": Outcome(error=ParameterError("no such file"))}
    with pytest.raises(ParameterError, match="no such file"):
        raise_them(outcomes)
