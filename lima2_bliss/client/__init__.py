"""The client: a detector of any number of receivers as one object, and its acquisitions. No BLISS in it."""

from lima2_bliss.client.acquisition import Acquisition
from lima2_bliss.client.detector import Detector
from lima2_bliss.client.frames import read_frames
from lima2_bliss.client.receiver_link import Channel, ReceiverLink, read_status, zmq_flavour
from lima2_bliss.client.sources import ACC_CORRECTED, ACC_PEAKS, FRAME, INPUT_FRAME, RAW_FRAME, SPARSE_FRAME
from lima2_bliss.client.status import AcquisitionStatus, DetectorState, ReceiverStatus
from lima2_bliss.client.tango_link import DeviceLink
from lima2_bliss.client.watch import Patience

__all__ = [
    # detector and acquisition
    "Acquisition",
    "Detector",
    # frame sources
    "ACC_CORRECTED",
    "ACC_PEAKS",
    "FRAME",
    "INPUT_FRAME",
    "RAW_FRAME",
    "SPARSE_FRAME",
    # what they say
    "AcquisitionStatus",
    "DetectorState",
    "Patience",
    "ReceiverStatus",
    # links to single devices and receivers
    "Channel",
    "DeviceLink",
    "ReceiverLink",
    "read_frames",
    "read_status",
    "zmq_flavour",
]
