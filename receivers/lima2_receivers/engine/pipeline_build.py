"""Building the pipeline of one acquisition: checks, memory, files, source; all of it or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from lima2_bliss.contract import AcquisitionError, FrameInfo, ParameterError, RoundRobin, StateError
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters, Veto
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.front import Front
from lima2_receivers.engine.memory import MemoryAccount, MemoryManager, processed_pool_size
from lima2_receivers.engine.pipeline_run import INPUT, PipelineRun
from lima2_receivers.engine.plugin import (
    RAW_FRAME,
    Conditioning,
    FrameOutput,
    FrameWriter,
    MakeWriter,
    PipelineClass,
    PipelineGraph,
    PipelineSetup,
    ReceiverSetup,
)

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
    raw: FrameInfo
    conditioning: Conditioning | None = None

    @property
    def source_setup(self) -> ReceiverSetup:
        """What the source is told."""
        return ReceiverSetup(self.uuid, self.acquisition, self.rank, self.dispatch)

    def setup(self, allocate: Callable[[FrameInfo, int], BufferPool]) -> PipelineSetup:
        """What the pipeline is told."""
        given = self.conditioning
        images, masked, dummy = (self.raw, None, None) if given is None else (given.image, given.masked, given.dummy)
        return PipelineSetup(
            self.uuid, self.acquisition, self.processing, images, self.rank, self.dispatch, allocate, masked, dummy
        )


def input_dispatch(processing: Parameters, nb_receivers: int) -> RoundRobin:
    """Which receiver takes which raw frame: the frames of one accumulation go to the same one."""
    accumulation = getattr(processing, "accumulation", None)
    return RoundRobin(nb_receivers, block=1 if accumulation is None else accumulation.depth)


def check_raw(request: BuildRequest) -> None:
    """`ParameterError` when raw frames are to be saved of a detector whose raw frames are its images."""
    saving = getattr(request.processing, "saving_raw", None)
    if request.conditioning is None and saving is not None and saving.enabled:
        raise ParameterError(
            "saving_raw.enabled: the raw frames of this detector are its images; save those instead, and set "
            "saving_raw.enabled to false"
        )


def trial_setup(request: BuildRequest) -> PipelineSetup:
    """A setup for `PipelineClass.check`, which must not allocate."""

    def refuse(info: FrameInfo, nb_buffers: int) -> BufferPool:
        raise StateError("a pipeline must not allocate buffers while its parameters are checked")

    return request.setup(refuse)


def build_run(
    request: BuildRequest,
    memory: MemoryManager,
    make_writer: MakeWriter,
    prepare_source: Callable[[ReceiverSetup], FrameInfo],
) -> PipelineRun:
    """The run of an acquisition, ready to start. On failure all that was made is undone."""
    account = memory.account(request.uuid, at_once=False)
    writers: dict[str, FrameWriter] = {}
    closing: list[Callable[[], None]] = []
    try:
        check_raw(request)
        setup = request.setup(account.allocate)
        graph = request.pipeline.build(setup)
        closing.append(graph.close)
        graph, front = _with_conditioning(graph, request, account)
        closing += [] if front is None else [front.close]
        _make_writers(writers, graph, request, make_writer)
        run = PipelineRun(
            request.receiver, request.pipeline.tango_class, setup, graph, account, writers, request.raw, front
        )
        account.commit()
        info = prepare_source(request.source_setup)
        if info != request.raw:
            raise AcquisitionError(f"the source prepared frames of {info}, after it had announced {request.raw}")
    except BaseException:
        for writer in writers.values():
            writer.close()
        account.release()
        for close in closing:
            close()
        raise
    return run


def _with_conditioning(
    graph: PipelineGraph, request: BuildRequest, account: MemoryAccount
) -> tuple[PipelineGraph, Front | None]:
    """The graph with the raw frames as a frame source, and what runs before its nodes, where raw frames are no images.

    Buffers for images are as many as the pipeline's stores and savers can hold of them.
    """
    given, processing = request.conditioning, request.processing
    if given is None:
        return graph, None
    outputs = {name: output for name, output in graph.outputs.items() if name != INPUT}
    kept = [output.depth + output.veto.keep_before for output in outputs.values() if output.info == given.image]
    threads = graph.threads if graph.parallel else 1
    pool = account.allocate(given.image, processed_pool_size(max(kept, default=0), graph.fifo, threads))
    nodes = given.build(pool, request.source_setup)
    buffers = getattr(processing, "buffers", None)
    outputs[RAW_FRAME] = FrameOutput(
        request.raw,
        getattr(buffers, "nb_input_frames_buffer", 1),
        getattr(processing, "saving_raw", None),
        getattr(processing, "veto_raw", Veto()),
    )
    metadata = {**graph.metadata, "conditioning": dict(given.metadata)}
    return replace(graph, outputs=outputs, metadata=metadata), Front(nodes, given.ahead)


def _make_writers(
    writers: dict[str, FrameWriter], graph: PipelineGraph, request: BuildRequest, make_writer: MakeWriter
) -> None:
    for source, output in graph.outputs.items():
        if output.saving is not None and output.saving.enabled:
            writers[source] = make_writer(output.saving, output.info, request.rank, graph.metadata)
