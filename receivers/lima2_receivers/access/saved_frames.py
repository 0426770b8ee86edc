"""Frames from the receivers' closed files, when they are no longer in memory."""

from __future__ import annotations

import h5py
import hdf5plugin  # noqa: F401  registers the compressions
import numpy as np

from lima2_bliss.contract import FrameFlags, NotAvailableError, RoundRobin
from lima2_bliss.contract.parameters import Saving


def read_saved_frame(saving: Saving, dispatch: RoundRobin, index: int) -> np.ndarray:
    """Pixels (channels, height, width) of global frame ``index``; `NotAvailableError` when no closed file has it.

    A file has its final name only when it is complete, so one that exists can be read.
    """
    layout = saving.layout()
    receiver, local = dispatch.locate(index)
    number, place = divmod(local, layout.nb_frames_per_file)
    path = layout.receiver_file(receiver, number)
    try:
        with h5py.File(path, "r") as file:
            data = file[layout.data_path]
            if place >= len(data):
                raise NotAvailableError(f"frame {index} is not in {path}: it has {len(data)} frames")
            flags = FrameFlags(int(file[layout.flags_path][place])) if layout.flags_path in file else FrameFlags.GOOD
            if flags & (FrameFlags.LOST | FrameFlags.OVERRUN | FrameFlags.VETOED):
                raise NotAvailableError(f"frame {index} has no pixels ({flags.name})")
            pixels = data[place]
    except (OSError, KeyError) as error:
        raise NotAvailableError(f"frame {index} cannot be read from {path}: {error}", path=path) from None
    return pixels.reshape(-1, *pixels.shape[-2:])
