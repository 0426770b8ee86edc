"""What a receiver holds at this moment; looking at it disturbs nothing and waits for nothing."""

from __future__ import annotations

from lima2_bliss.contract.overview import PipelineOverview, ReceiverOverview
from lima2_receivers.engine.pipeline_run import PipelineRun
from lima2_receivers.engine.receiver import ReceiverEngine


def pipeline_overview(run: PipelineRun) -> PipelineOverview:
    """State, counts and memory of one acquisition."""
    status = run.status()
    held, places = run.ring_fill()
    return PipelineOverview(
        uuid=run.uuid,
        pipeline=status.pipeline,
        state=status.state,
        source_done=status.source_done,
        processing_done=status.processing_done,
        error=status.error,
        counts=status.counts,
        intake=status.intake,
        memory_bytes=run.memory_bytes,
        age_s=run.age_s,
        ring_held=held,
        ring_places=places,
    )


def receiver_overview(engine: ReceiverEngine, host: str, pid: int, access_endpoint: str) -> ReceiverOverview:
    """The receiver with all its acquisitions; what the engine does not know of its process is given."""
    memory = engine.memory
    return ReceiverOverview(
        state=engine.state,
        rank=engine.rank,
        nb_receivers=engine.nb_receivers,
        host=host,
        pid=pid,
        access_endpoint=access_endpoint,
        source_endpoints=engine.source_endpoints(),
        budget_bytes=memory.budget_bytes,
        used_bytes=memory.used_bytes,
        idle_bytes=memory.idle_bytes,
        max_pipelines=engine.max_pipelines,
        pipelines=[pipeline_overview(run) for run in engine.pipelines.values()],
    )
