"""An error of a receiver is one sentence that names it once."""

from __future__ import annotations

import pytest

from lima2_bliss.client.errors_by_device import naming_receiver, without_name
from lima2_bliss.client.status import ReceiverStatus, gather
from lima2_bliss.contract import AcquisitionError, RoundRobin
from lima2_bliss.contract.wire import PipelineStatus

NAME = "id00/limareceiver/sim1"


@pytest.mark.parametrize(
    "text",
    ["disk full", f"{NAME}: disk full", f"receiver {NAME}: disk full", f"receiver {NAME}: {NAME}: disk full"],
)
def test_a_receiver_is_named_once_whoever_has_named_it_before(text: str) -> None:
    assert naming_receiver(NAME, text) == f"receiver {NAME}: disk full"


def test_a_sentence_that_begins_with_the_name_goes_on_after_it() -> None:
    assert naming_receiver(NAME, f"receiver {NAME} was shut down") == f"receiver {NAME} was shut down"
    assert without_name(NAME, f"receiver {NAME} was shut down") == "was shut down"


def test_a_longer_name_is_another_device() -> None:
    other = f"{NAME}1: disk full"
    assert naming_receiver(NAME, other) == f"receiver {NAME}: {other}"


def test_the_errors_of_an_acquisition_name_each_receiver_once() -> None:
    failure = AcquisitionError(f"{NAME}: frame 4 failed").to_json()
    failed = ReceiverStatus(NAME, 0, PipelineStatus(uuid="u", revision=1, state="failed", error=failure))
    assert gather("u", [failed], RoundRobin(1), RoundRobin(1)).errors == [f"receiver {NAME}: frame 4 failed"]
