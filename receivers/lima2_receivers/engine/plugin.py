"""What a detector and a pipeline give to the engine: small protocols and two frozen descriptions of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lima2_bliss.contract import (
    FrameInfo,
    FrameMeta,
    ImageTransform,
    ResultStream,
    RoundRobin,
    SparseFrame,
    SparseInfo,
)
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters, Saving, Veto
from lima2_receivers.engine.buffers import BufferPool, FrameBuffer

#: Frame source of what the detector sent, where that is no image yet (see `Conditioning`).
RAW_FRAME = "raw_frame"

# --- detector side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceiverSetup:
    """All that a source is told at prepare. ``dispatch`` says which frames are this receiver's (``rank``)."""

    uuid: str
    parameters: AcquisitionParameters
    rank: int
    dispatch: RoundRobin


class Sink(Protocol):
    """Where a source puts its frames. Call it from the source's one thread, frames in local order."""

    def reserve(self, timeout_s: float = 0.0) -> FrameBuffer | None:
        """A free ring buffer to write a frame into; None when the ring is full (an overrun, unless you wait again)."""

    def deliver(self, buffer: FrameBuffer, meta: FrameMeta) -> None:
        """Hand over a complete frame (takes over the caller's reference to the buffer)."""

    def lost(self, meta: FrameMeta) -> None:
        """Report a frame without pixels; ``meta.flags`` says why. It becomes a marked hole everywhere."""

    def note(self, counts: Mapping[str, int], warnings: Sequence[str]) -> None:
        """What the source counted so far beside frames (packets, ...), and what users should know. From any thread."""


class Source(Protocol):
    """Turns the detector's wire into frames; lives as long as its receiver process."""

    def endpoints(self) -> dict[str, str]:
        """Addresses where the detector's control reaches this source, by purpose (may be empty)."""

    def frame_info(self, parameters: AcquisitionParameters) -> FrameInfo:
        """Shape and type of the raw frames that these parameters give."""

    def conditioning(self, parameters: AcquisitionParameters) -> Conditioning | None:
        """How raw frames become images; None when they are images. Called often: keep what is costly to read.

        `ParameterError` when that is not possible, such as for a calibration that does not fit.
        """

    def prepare(self, setup: ReceiverSetup) -> FrameInfo:
        """Get ready to receive: from here on nothing that the detector sends may be lost."""

    def run(self, sink: Sink) -> None:
        """Receive until the last frame or `stop`; blocking, in a thread of its own. An exception ends in FAULT."""

    def stop(self) -> None:
        """Make `run` return soon (at most 1 s), at a cut that is the same on all receivers. From any thread."""

    def close(self) -> None:
        """Release sockets and memory; the receiver process ends."""


class DetectorControl(Protocol):
    """Owns the detector; lives as long as its control process. Calls may come from several threads, one at a time."""

    def info(self) -> dict[str, Any]:
        """`plugin`, `model`, `sn`, `pixel_size` {x, y} [m], `dimensions` {x, y} [px]; no nulls."""

    def status(self) -> dict[str, Any]:
        """`state`, and values such as `temperature` [degC]."""

    def capabilities(self) -> dict[str, Any]:
        """`trigger_modes`, `expo_time_range` and `latency_time_range` [ns], `nb_frames_per_trigger_range`."""

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        """Detector's own commands by name: JSON value in (or None), JSON value out."""

    def prepare(self, uuid: str, parameters: AcquisitionParameters) -> None:
        """Configure the detector."""

    def start(self) -> None:
        """Start exposing, or wait for triggers; returns at once."""

    def trigger(self) -> None:
        """Software trigger; `StateError` when it comes too early or is not the mode."""

    def stop(self) -> None:
        """End the acquisition at a cut that is the same for all receivers."""

    def reset(self) -> None:
        """Back to a usable state from anything."""

    def close(self) -> None:
        """The process ends."""

    @property
    def nb_frames_acquired(self) -> int:
        """Frames exposed so far, whole system."""

    @property
    def finished(self) -> bool:
        """True when all frames of the acquisition have been exposed."""


@dataclass(frozen=True)
class ControlContext:
    """What a control gets from its process: ``receivers()`` gives `Source.endpoints` of each receiver, rank order.

    ``fail(error)`` reports an error of the detector outside of any command; it is set by the engine.
    """

    name: str
    properties: Mapping[str, str]
    receivers: Callable[[], Sequence[Mapping[str, str]]]
    fail: Callable[[BaseException], None] = lambda error: None


@dataclass(frozen=True)
class SourceContext:
    """What a source gets from its process. ``bind_address`` is the interface to listen on."""

    name: str
    properties: Mapping[str, str]
    bind_address: str = "127.0.0.1"


@dataclass(frozen=True)
class DetectorPlugin:
    """A detector: entry point group ``lima2_receivers.detectors``. ``name`` is det_info's ``plugin``."""

    name: str
    version: str
    parameters: type[AcquisitionParameters]
    make_control: Callable[[ControlContext], DetectorControl]
    make_source: Callable[[SourceContext], Source]


@dataclass(frozen=True)
class ConditioningNodes:
    """The nodes of one acquisition that come before those of its pipeline.

    ``image`` runs on any worker thread: it replaces the raw pixels of an item by an image (a buffer of the pool that it
    was made with), or makes a hole of it. ``ordered`` see the frames one by one in local order after the pipeline's
    parallel nodes, ``meta.hit`` known, the raw frame in ``more[RAW_FRAME]``; they must not keep or replace the item.
    ``last`` is called after the last frame, unless the acquisition was aborted; ``close`` when it is erased.
    ``counts``: what the nodes counted so far, by name, shown with what the source counted; from any thread.
    """

    image: Node
    ordered: Sequence[Node] = ()
    last: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    counts: Callable[[], Mapping[str, int]] = dict


@dataclass(frozen=True)
class Conditioning:
    """How a detector makes images of its raw frames; with it there is a further frame source, `RAW_FRAME`.

    ``image``: what pipelines get. ``masked``: bool (height, width), True where never anything is measured. ``dummy``:
    value of a pixel that measured nothing in one frame (floats: NaN does). ``ahead``: raw buffers that the source
    holds beyond the frame it delivers. ``build(pool, setup)`` makes the nodes; ``metadata`` goes into file headers.
    """

    image: FrameInfo
    build: Callable[[BufferPool, ReceiverSetup], ConditioningNodes]
    masked: np.ndarray | None = None
    dummy: float | None = None
    ahead: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


# --- pipeline side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipelineSetup:
    """All that a pipeline is told at prepare. ``allocate(info, n)`` gives a pool of n buffers, accounted and reused.

    A pool for processed frames needs `memory.processed_pool_size` buffers; a node takes them with `BufferPool.take`.
    ``input``: the images that come. ``masked``: bool (height, width), True where they never have a value; ``dummy``: a
    pixel of this value measured nothing in that frame (floats: NaN does).
    """

    uuid: str
    acquisition: AcquisitionParameters
    processing: Any  # instance of the pipeline's parameter model
    input: FrameInfo
    rank: int
    dispatch: RoundRobin
    allocate: Callable[[FrameInfo, int], BufferPool]
    masked: np.ndarray | None = None
    dummy: float | None = None


class Holder(Protocol):
    """Holds what a frame source gives: pixels in a buffer (`FrameBuffer`), or a sparse frame (`SparseHolder`)."""

    @property
    def data(self) -> Any:
        """Pixels (channels, height, width), or a `SparseFrame`."""

    def retain(self) -> Holder:
        """One more holder of it."""

    def release(self) -> None:
        """One holder less."""


@dataclass(frozen=True)
class SparseHolder:
    """A sparse frame where others have a buffer; its memory needs no counting."""

    data: SparseFrame

    def retain(self) -> SparseHolder:
        return self

    def release(self) -> None:
        return None


@dataclass(slots=True)
class FrameItem:
    """A frame on its way through the nodes. ``buffer`` is None for a hole (see ``meta.flags``).

    ``more``: what further frame sources give with this frame, by source name: a holder (None for a hole; the item
    takes over the reference) and its own description. A source need not give something with every frame.
    """

    meta: FrameMeta
    buffer: FrameBuffer | None
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    more: dict[str, tuple[Holder | None, FrameMeta]] = field(default_factory=dict)

    @property
    def pixels(self) -> np.ndarray:
        """Pixels (channels, height, width) of a frame that has some."""
        assert self.buffer is not None
        return self.buffer.data

    def replace(self, buffer: FrameBuffer) -> None:
        """Go on with other pixels; the reference to the old ones is given back."""
        if self.buffer is not None:
            self.buffer.release()
        self.buffer = buffer


class Node(Protocol):
    """One step of a pipeline. Heavy work must release the GIL. Holes (``item.buffer is None``) come through too."""

    name: str

    def process(self, item: FrameItem) -> FrameItem | None:
        """The item to go on with, or None when it was taken up (accumulation). Fill ``item.rows`` with results.

        After None, or another item than the given one, the engine releases what ``item.buffer`` of the given item
        still holds; a node that keeps or released that buffer sets ``item.buffer`` to None.
        """


@dataclass(frozen=True)
class FrameOutput:
    """A frame source of a pipeline: `input_frame` (raw), `frame` (after all nodes), or one that nodes put into
    `FrameItem.more`. ``veto`` chooses which frames are saved; it goes by ``meta.hit``."""

    info: FrameInfo | SparseInfo
    depth: int
    saving: Saving | None = None
    veto: Veto = field(default_factory=Veto)


@dataclass(frozen=True)
class PipelineGraph:
    """The nodes of one acquisition on one receiver.

    ``parallel`` nodes are stateless and run on any worker thread; then ``ordered`` nodes see the frames one by one in
    local order. ``accumulation`` input frames make one output frame; output frame indices are counted anew:
    output dispatch is ``RoundRobin(receivers)`` and the accumulating node sets ``meta.index`` and ``meta.local``.
    ``last`` is called after the last frame: what it returns is not a frame of its own, only its ``more`` is stored and
    saved. ``close`` is called once, when the acquisition is erased.
    """

    parallel: Sequence[Node]
    ordered: Sequence[Node]
    results: Sequence[ResultStream]
    outputs: Mapping[str, FrameOutput]
    transform: ImageTransform
    accumulation: int = 1
    threads: int = 1
    fifo: int = 100
    metadata: Mapping[str, Any] = field(default_factory=dict)
    last: Callable[[], FrameItem | None] = lambda: None
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class PipelineClass:
    """A pipeline: entry point group ``lima2_receivers.pipelines``.

    ``check`` raises one `ParameterError` naming all faults (it may read files); ``build`` makes the nodes.
    """

    name: str
    tango_class: str
    version: str
    parameters: type[Parameters]
    check: Callable[[PipelineSetup], None]
    build: Callable[[PipelineSetup], PipelineGraph]


# --- saving side --------------------------------------------------------------------------------------------------


class FrameWriter(Protocol):
    """Writes the frames of one source of one receiver; called from one thread, in local order.

    ``pixels`` are an array for a dense source, a `SparseFrame` for a sparse one.
    """

    @property
    def saved(self) -> int:
        """Frames written, holes included."""

    @property
    def complete(self) -> tuple[int, int]:
        """(complete files, local frames in them): these are readable by anyone."""

    def write(self, pixels: Any | None, meta: FrameMeta) -> None:
        """Write the next frame (channels, height, width), or a hole (None). `SavingError` when it cannot be."""

    def close(self) -> None:
        """Complete and close the last file; harmless twice. After a failure it leaves readable files."""


#: (saving, info, rank, metadata) -> writer; it does all checks that can be done before the first frame.
MakeWriter = Callable[[Saving, FrameInfo | SparseInfo, int, Mapping[str, Any]], FrameWriter]
