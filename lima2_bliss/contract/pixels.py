"""Pixel types: LImA2 name, numpy dtype, DevEncoded code."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lima2_bliss.contract.errors import ParameterError

PixelType = Literal["gray8s", "gray8", "gray16s", "gray16", "gray32s", "gray32", "gray32f", "gray64f"]

DTYPES: dict[str, np.dtype] = {
    "gray8s": np.dtype("i1"),
    "gray8": np.dtype("u1"),
    "gray16s": np.dtype("<i2"),
    "gray16": np.dtype("<u2"),
    "gray32s": np.dtype("<i4"),
    "gray32": np.dtype("<u4"),
    "gray32f": np.dtype("<f4"),
    "gray64f": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

#: Code of a numpy dtype in a DATA_ARRAY header (LImA1 and LImA2 agree).
CODES: dict[np.dtype, int] = {
    np.dtype(text): code
    for code, text in enumerate(("u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f4", "<f8"))
}
DTYPE_OF_CODE = {code: dtype for dtype, code in CODES.items()}


def dtype_of(pixel_type: str) -> np.dtype:
    """Numpy dtype of a LImA2 pixel type name."""
    try:
        return DTYPES[pixel_type]
    except KeyError:
        raise ParameterError(f"pixel type {pixel_type!r} is unknown; allowed: {', '.join(DTYPES)}") from None


def pixel_type_of(dtype: np.dtype | type | str) -> str:
    """LImA2 pixel type name of a numpy dtype; 64-bit integers have none and raise `ParameterError`."""
    try:
        return _NAMES[np.dtype(dtype)]
    except KeyError:
        raise ParameterError(f"dtype {np.dtype(dtype)} has no pixel type; allowed: {', '.join(DTYPES)}") from None
