"""What a receiver says of itself and of what it holds."""

from __future__ import annotations

from lima2_bliss.contract import AcqState
from lima2_bliss.contract.overview import ReceiverOverview
from lima2_receivers.engine.overview import receiver_overview


def test_memory_and_counts_of_every_acquisition_are_told(make_receiver):
    receiver = make_receiver(memory_budget_bytes=1 << 24)
    first = receiver.acquire(20)
    receiver.wait_state(AcqState.IDLE)
    assert first.finished.wait(10)
    receiver.prepare(10)

    told = receiver_overview(receiver.engine, "host", 7, "tcp://host:1")

    assert ReceiverOverview.model_validate_json(told.model_dump_json()) == told
    assert (told.state, told.host, told.pid, told.budget_bytes) == (AcqState.PREPARED, "host", 7, 1 << 24)
    assert [each.state for each in told.pipelines] == ["finished", "prepared"]
    assert [each.ended for each in told.pipelines] == [True, False]
    assert [each.counts.processed for each in told.pipelines] == [20, 0]
    assert told.used_bytes == sum(each.memory_bytes for each in told.pipelines)
    assert told.pipelines[1].ring_held == 0
    assert 0 < told.pipelines[0].ring_held <= told.pipelines[0].ring_places

    receiver.engine.erase(first.uuid)
    after = receiver_overview(receiver.engine, "host", 7, "")
    assert after.pipeline(first.uuid) is None
    assert after.used_bytes == told.pipelines[1].memory_bytes
