"""Frames and results for whoever looks: the receiver's ZMQ server, its reader, and the images of a whole detector."""

from lima2_receivers.access.image_source import Image, ImageSource, ReceiverReaders
from lima2_receivers.access.in_flight import AccessLimits
from lima2_receivers.access.live_feed import LiveFeed
from lima2_receivers.access.master_task import MasterState, MasterTask
from lima2_receivers.access.reader import ReadFrame, ReceiverReader
from lima2_receivers.access.server import AccessServer

__all__ = [
    # in the receiver
    "AccessLimits",
    "AccessServer",
    # in the access process
    "Image",
    "ImageSource",
    "LiveFeed",
    "MasterState",
    "MasterTask",
    "ReadFrame",
    "ReceiverReader",
    "ReceiverReaders",
]
