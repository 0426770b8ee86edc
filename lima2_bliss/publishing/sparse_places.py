"""Finds the file that has the sparse frame of a scan, and keeps the one in use open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lima2_bliss.contract import NoLongerAvailableError, NotAvailableError
from lima2_bliss.publishing.sparse_file import SparseFile


class SparsePlaces:
    """``where``: the path of one file with all frames of the scan, or what `saved_sparse_files` says, or nothing."""

    def __init__(self, where: str | Path | Mapping[str, Any] | None) -> None:
        self._where = where
        self._open: SparseFile | None = None

    def file(self, index: int, why: str) -> tuple[SparseFile, int]:
        """(file, place in it) of frame ``index`` of the scan; ``why`` it is needed stands in errors."""
        if self._where is None:
            raise NoLongerAvailableError(
                f"{why}, and no file of sparse frames is known: save them (saving_sparse), or give sparse_file = the "
                "path of one or of its master"
            )
        path, place = (self._where, index) if isinstance(self._where, str | Path) else saved_place(self._where, index)
        if self._open is None or self._open.path != Path(path):
            self.close()
            try:
                self._open = SparseFile(path)
            except NotAvailableError as error:
                raise NotAvailableError(f"{why}, and {error}") from error
        return self._open, place

    def close(self) -> None:
        """Release the open file; harmless twice."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.close()


def saved_place(info: Mapping[str, Any], index: int) -> tuple[str, int]:
    """(file, place in its dataset) of a frame of the scan, after its stream's ``lima_info``."""
    per_acquisition, per_file = int(info["frame_per_acquisition"]), int(info["frame_per_file"])
    acquisition, frame = divmod(index, per_acquisition) if per_acquisition else (0, index)
    number, place = divmod(frame, per_file)
    number += acquisition * -(-per_acquisition // per_file) + int(info["file_offset"])
    return str(info["file_path"]) % number, place
