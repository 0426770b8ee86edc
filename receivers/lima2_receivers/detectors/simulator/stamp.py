"""The frame's own number, written into its first pixels, so that order can be checked anywhere.

The global index, an unsigned 32-bit number, is cut into equal pieces, least significant first, one per pixel from
row 0, column 0 of channel 0 on:

======================  ======  =====================================
pixels                  pieces  a piece is
======================  ======  =====================================
8-bit (signed or not)   4       8 bits, stored as they are
16-bit                  2       16 bits, stored as they are
32-bit integers         1       32 bits, stored as they are
32-bit floats           2       16 bits, as a number from 0 to 65535
64-bit floats           1       the index as a number
======================  ======  =====================================
"""

from __future__ import annotations

import numpy as np

_FLOAT_PIECES: dict[int, tuple[int, np.dtype]] = {4: (2, np.dtype("<u2")), 8: (1, np.dtype("<u4"))}


def _pieces(dtype: np.dtype) -> tuple[int, np.dtype]:
    if dtype.kind == "f":
        return _FLOAT_PIECES[dtype.itemsize]
    return 4 // dtype.itemsize, np.dtype(f"<u{dtype.itemsize}")


def stamp(pixels: np.ndarray, index: int) -> None:
    """Write ``index`` (0 to 2**32 - 1) into a frame of shape (channels, height, width)."""
    count, piece = _pieces(pixels.dtype)
    values = np.frombuffer(index.to_bytes(4, "little"), piece)
    pixels[0, 0, :count] = values if pixels.dtype.kind == "f" else values.view(pixels.dtype)


def read_stamp(pixels: np.ndarray) -> int:
    """The index that `stamp` wrote into ``pixels``: (channels, height, width) or (height, width)."""
    row = pixels[0, 0] if pixels.ndim == 3 else pixels[0]
    count, piece = _pieces(pixels.dtype)
    return int.from_bytes(row[:count].astype(piece).tobytes(), "little")
