"""Errors that say which process they come from."""

from __future__ import annotations

from lima2_bliss.contract import AcquisitionError, Lima2Error


def named_error(error: BaseException, owner: str, doing: str = "", **errinfo: str) -> Lima2Error:
    """``error`` with ``owner`` in front: of the same kind if it is one of ours, else an `AcquisitionError`.

    ``doing`` says what failed when the error does not say it itself.
    """
    if isinstance(error, Lima2Error):
        if str(error).startswith(owner):
            return error
        named = type(error)(f"{owner}: {error}")
        named.errinfo = {**error.errinfo, **errinfo}
        return named
    failed = f"{doing} failed: " if doing else ""
    return AcquisitionError(f"{owner}: {failed}{type(error).__name__}: {error}", **errinfo)
