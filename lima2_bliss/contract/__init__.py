"""Words that the session and the receivers share: parameters, states, types, encodings, topology, errors. No I/O."""

from lima2_bliss.contract.errors import (
    NO_ERROR,
    TANGO_REASON,
    AcquisitionError,
    ConnectionLostError,
    DeviceTimeoutError,
    Lima2Error,
    NoLongerAvailableError,
    NotAvailableError,
    NotReadyError,
    NotYetAvailableError,
    ParameterError,
    ProtocolError,
    SavingError,
    StateError,
    error_from_json,
)
from lima2_bliss.contract.files import FileLayout
from lima2_bliss.contract.frame import FrameFlags, FrameInfo, FrameMeta
from lima2_bliss.contract.geometry import Flip, ImageTransform, Rotation
from lima2_bliss.contract.pixels import PixelType, dtype_of, pixel_type_of
from lima2_bliss.contract.records import FRAME_EVENT, FRAME_IDX, ROI_PROFILE, ROI_STATISTICS, SPOT, ResultStream
from lima2_bliss.contract.sparse import SparseFrame, SparseInfo
from lima2_bliss.contract.states import AcqState, SystemState, system_state
from lima2_bliss.contract.topology import RoundRobin

__all__ = [
    # errors
    "NO_ERROR",
    "TANGO_REASON",
    "AcquisitionError",
    "ConnectionLostError",
    "DeviceTimeoutError",
    "Lima2Error",
    "NoLongerAvailableError",
    "NotAvailableError",
    "NotReadyError",
    "NotYetAvailableError",
    "ParameterError",
    "ProtocolError",
    "SavingError",
    "StateError",
    "error_from_json",
    # frames and files
    "FileLayout",
    "Flip",
    "FrameFlags",
    "FrameInfo",
    "FrameMeta",
    "ImageTransform",
    "PixelType",
    "Rotation",
    "dtype_of",
    "pixel_type_of",
    # results
    "FRAME_EVENT",
    "FRAME_IDX",
    "ROI_PROFILE",
    "ROI_STATISTICS",
    "SPOT",
    "ResultStream",
    "SparseFrame",
    "SparseInfo",
    # states and topology
    "AcqState",
    "RoundRobin",
    "SystemState",
    "system_state",
]
