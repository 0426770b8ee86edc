"""Which image must be there before a scan goes on: the ``wait_frame_id`` of LImA scans."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lima2_bliss.contract import ParameterError

#: One index for each iteration of the scan; -1 waits for nothing.
FrameIds = Iterable[int]


def frame_ids(name: str, given: Any, nb_images: int) -> FrameIds | None:
    """``wait_frame_id`` of a scan of ``nb_images`` (0: endless), checked; None when there is none.

    A list becomes a tuple; an iterator, that may have no end, is kept and checked while the scan runs.
    """
    if given is None:
        return None
    if isinstance(given, Iterator):
        return (_checked(name, index, nb_images) for index in given)
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ParameterError(
            f"{name}: wait_frame_id = {given!r} is no list; give one image index for each iteration of the scan,"
            " as in [9, 19, 29] for three lines of ten images"
        )
    ids = tuple(_checked(name, index, nb_images) for index in given)
    if not ids:
        raise ParameterError(f"{name}: wait_frame_id is empty; give one image index for each iteration, or None")
    if any(later < earlier for earlier, later in itertools.pairwise(ids)):
        raise ParameterError(f"{name}: wait_frame_id = {list(ids)} goes down; images come in order")
    return ids


def _checked(name: str, index: Any, nb_images: int) -> int:
    if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
        raise ParameterError(f"{name}: wait_frame_id has {index!r}; image indices are whole numbers")
    if index < -1 or (nb_images and index >= nb_images):
        last = f"{nb_images - 1}, the last of {nb_images} images" if nb_images else "any number"
        raise ParameterError(f"{name}: wait_frame_id has {index}; allowed: -1 (wait for nothing) to {last}")
    return int(index)
