"""From an error of the system or of HDF5 to a `SavingError` that says which file, why, and what to do."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from lima2_bliss.contract import SavingError

_REMEDIES = {
    errno.ENOSPC: "free space on it or save elsewhere (base_path)",
    errno.EDQUOT: "free some of the quota or save elsewhere (base_path)",
    errno.EFBIG: "raise the limit or write fewer frames per file (nb_frames_per_file)",
    errno.ENOTDIR: "a file stands where a directory must be; remove it or save elsewhere (base_path)",
    errno.ENOENT: "the directory is gone; create it again or save elsewhere (base_path)",
    errno.ESTALE: "the network directory is gone; mount it again or save elsewhere (base_path)",
    errno.EACCES: "give the receiver's user write permission or save elsewhere (base_path)",
    errno.EPERM: "give the receiver's user write permission or save elsewhere (base_path)",
    errno.EROFS: "the file system is read-only; save elsewhere (base_path)",
    errno.EAGAIN: "it is being written already; choose another filename_prefix or end the acquisition that writes it",
    errno.EEXIST: "choose another filename_prefix, or file_exists_policy 'append' or 'overwrite'",
    errno.EIO: "check the disk or the network mount",
}
_ERRNO_IN_TEXT = re.compile(r"errno = (\d+)")


def saving_error(doing: str, path: Path, error: Exception) -> SavingError:
    """The error for ``doing`` ("write", "complete") on ``path``; HDF5 hides the errno in its text, this finds it."""
    if isinstance(error, SavingError):
        return error
    number = getattr(error, "errno", None)
    if number is None and (found := _ERRNO_IN_TEXT.search(str(error))):
        number = int(found.group(1))
    if number is None:
        return SavingError(f"cannot {doing} {path}: {error}", path=path)
    remedy = _REMEDIES.get(number, "see the receiver's log")
    reason = f"{os.strerror(number)} (errno {number})"
    result = SavingError(f"cannot {doing} {path}: {reason}; {remedy}", path=path, errno=number)
    result.errno = number
    return result
