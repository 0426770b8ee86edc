"""Building the pipeline of one acquisition: checks, memory, files, source; all of it or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from lima2_bliss.contract import AcquisitionError, FrameInfo, RoundRobin, StateError
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.memory import MemoryManager
from lima2_receivers.engine.pipeline_run import PipelineRun
from lima2_receivers.engine.plugin import FrameWriter, MakeWriter, PipelineClass, PipelineGraph, PipelineSetup

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildRequest:
    """All that decides what the pipeline of an acquisition is on this receiver."""

    uuid: str
    receiver: str
    rank: int
    dispatch: RoundRobin
    pipeline: PipelineClass
    acquisition: AcquisitionParameters
    processing: Parameters
    input: FrameInfo

    def setup(self, allocate: Callable[[FrameInfo, int], BufferPool]) -> PipelineSetup:
        return PipelineSetup(
            self.uuid, self.acquisition, self.processing, self.input, self.rank, self.dispatch, allocate
        )


def input_dispatch(processing: Parameters, nb_receivers: int) -> RoundRobin:
    """Which receiver takes which raw frame: the frames of one accumulation go to the same one."""
    accumulation = getattr(processing, "accumulation", None)
    return RoundRobin(nb_receivers, block=1 if accumulation is None else accumulation.depth)


def trial_setup(request: BuildRequest) -> PipelineSetup:
    """A setup for `PipelineClass.check`, which must not allocate."""

    def refuse(info: FrameInfo, nb_buffers: int) -> BufferPool:
        raise StateError("a pipeline must not allocate buffers while its parameters are checked")

    return request.setup(refuse)


def build_run(
    request: BuildRequest,
    memory: MemoryManager,
    make_writer: MakeWriter,
    prepare_source: Callable[[BuildRequest], FrameInfo],
) -> PipelineRun:
    """The run of an acquisition, ready to start. On failure all that was made is undone."""
    account = memory.account(request.uuid)
    writers: dict[str, FrameWriter] = {}
    graph: PipelineGraph | None = None
    try:
        setup = request.setup(account.allocate)
        graph = request.pipeline.build(setup)
        _make_writers(writers, graph, request, make_writer)
        run = PipelineRun(request.receiver, request.pipeline.tango_class, setup, graph, account, writers)
        info = prepare_source(request)
        if info != request.input:
            raise AcquisitionError(f"the source prepared frames of {info}, after it had announced {request.input}")
    except BaseException:
        for writer in writers.values():
            writer.close()
        account.release()
        if graph is not None:
            graph.close()
        raise
    return run


def _make_writers(
    writers: dict[str, FrameWriter], graph: PipelineGraph, request: BuildRequest, make_writer: MakeWriter
) -> None:
    for source, output in graph.outputs.items():
        if output.saving is not None and output.saving.enabled:
            writers[source] = make_writer(output.saving, output.info, request.rank, graph.metadata)
