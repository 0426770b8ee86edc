"""System calls that compiled code makes itself, and the C structures they take (64-bit Linux)."""

from __future__ import annotations

import numpy as np
from numba import carray, types

from lima2_receivers.kernels.compilation import kernel

#: struct iovec and struct mmsghdr.
IOVEC = np.dtype([("base", "i8"), ("length", "i8")])
MMSGHDR = np.dtype(
    [
        ("name", "i8"),
        ("name_length", "i8"),
        ("vectors", "i8"),
        ("nb_vectors", "i8"),
        ("control", "i8"),
        ("control_length", "i8"),
        ("flags", "i4"),
        ("_gap1", "i4"),
        ("length", "u4"),
        ("_gap2", "i4"),
    ]
)
POLLFD = np.dtype([("fd", "i4"), ("events", "i2"), ("revents", "i2")])
TIMESPEC = np.dtype([("seconds", "i8"), ("nanoseconds", "i8")])
assert [each.itemsize for each in (IOVEC, MMSGHDR, POLLFD, TIMESPEC)] == [16, 64, 8, 16]

MSG_DONTWAIT, MSG_TRUNC = 0x40, 0x20
POLLIN = 1
EINTR, EAGAIN, ENOMEM, ENOBUFS = 4, 11, 12, 105
CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1

_int, _size = types.int32, types.intp
recvmmsg = types.ExternalFunction("recvmmsg", _int(_int, _size, types.uint32, _int, _size))
poll = types.ExternalFunction("poll", _int(_size, types.uint64, _int))
usleep = types.ExternalFunction("usleep", _int(types.uint32))
write = types.ExternalFunction("write", _size(_int, _size, _size))
read = types.ExternalFunction("read", _size(_int, _size, _size))
memcpy = types.ExternalFunction("memcpy", _size(_size, _size, _size))
_clock_gettime = types.ExternalFunction("clock_gettime", _int(_int, _size))
_errno_location = types.ExternalFunction("__errno_location", types.CPointer(_int)())


@kernel()
def errno() -> int:
    """Why the last system call of this thread failed."""
    return carray(_errno_location(), 1)[0]


@kernel()
def now_ns(clock: int, spec: np.ndarray) -> int:
    """Time of ``clock`` [ns]; ``spec`` (1,) `TIMESPEC` is room for it."""
    _clock_gettime(clock, spec.ctypes.data)
    return spec[0].seconds * 1_000_000_000 + spec[0].nanoseconds
