"""Life cycle, pipelines, buffers and counts of a control or receiver, without Tango, ZMQ or HDF5."""

from lima2_receivers.engine.buffers import BufferPool, FrameBuffer
from lima2_receivers.engine.control import ControlEngine
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.memory import MemoryAccount, MemoryManager, processed_pool_size
from lima2_receivers.engine.pipeline_run import PipelineRun
from lima2_receivers.engine.receiver import ReceiverEngine
from lima2_receivers.engine.registry import load_detector, load_pipelines
from lima2_receivers.engine.results_log import ResultsLog

__all__ = [
    # processes
    "ControlEngine",
    "ReceiverEngine",
    "load_detector",
    "load_pipelines",
    # one acquisition
    "PipelineRun",
    "ResultsLog",
    "FrameStore",
    # memory
    "BufferPool",
    "FrameBuffer",
    "MemoryAccount",
    "MemoryManager",
    "processed_pool_size",
]
