"""Reads pictures as the page does."""

import json

import numpy as np


def decoded(message):
    """(header, pixels) of a picture."""
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    begin = -(-(4 + length) // 8) * 8
    pixels = np.frombuffer(message[begin:], np.dtype(header["dtype"]).newbyteorder("<"))
    return header, pixels.reshape(header["shape"])
