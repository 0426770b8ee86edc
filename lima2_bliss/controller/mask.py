"""The pixel mask: one file for whichever pipeline is chosen, looked at before it is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lima2_bliss.contract import ConnectionLostError, DeviceTimeoutError, Lima2Error, ParameterError
from lima2_bliss.contract.overview import MapDescription
from lima2_bliss.controller.settings import SettingsSection, table


class Mask:
    """The file of the pixel mask (not 0: masked): `set` it, `clear` it, type its name to see it.

    It is kept in both ``processing.mask`` (pipeline legacy) and ``smx.mask`` (pipeline smx), so that it stays when the
    pipeline is changed; these names still work, each for its own pipeline.
    """

    def __init__(
        self,
        title: str,
        processing: SettingsSection,
        smx: SettingsSection,
        describe: Callable[[str], MapDescription],
        detector_shape: Callable[[], tuple[int, int] | None],
    ) -> None:
        self._title = title
        self._processing = processing
        self._smx = smx
        self._describe = describe
        self._detector_shape = detector_shape

    @property
    def file(self) -> str | None:
        """The file that the chosen pipeline uses, None for no mask."""
        section = self._smx if self._processing.pipeline == "smx" else self._processing
        path: str | None = section.mask
        return path

    def set(self, path: str | Path | None) -> None:
        """Use the mask in a file, ``"mask.npy"`` or ``"file.h5::/path/to/dataset"``; None for no mask.

        A receiver reads the file at once; it must be an image of the detector's size.
        """
        if path is None:
            self.clear()
            return
        source = _absolute(self._title, path)
        try:
            self._check(source, self._describe(source))
        except (ConnectionLostError, DeviceTimeoutError) as error:
            raise type(error)(
                f"{self._title} = {source!r} cannot be checked, nothing was changed: {error.what}"
            ) from None
        self._keep(source)

    def clear(self) -> None:
        """No mask."""
        self._keep(None)

    def description(self) -> MapDescription | None:
        """Shape, type and number of masked pixels, as a receiver reads the file now; None without a mask."""
        return None if self.file is None else self._describe(self.file)

    @property
    def shape(self) -> tuple[int, int] | None:
        """(height, width) of the mask, None without a mask."""
        found = self.description()
        return None if found is None else (found.shape[-2], found.shape[-1])

    @property
    def masked_fraction(self) -> float:
        """Part of the pixels that are masked, from 0 to 1."""
        found = self.description()
        return 0.0 if found is None else found.nonzero / found.size

    def _keep(self, source: str | None) -> None:
        self._processing.update({"mask": source})
        self._smx.update({"mask": source})

    def _check(self, source: str, found: MapDescription) -> None:
        size = self._detector_shape()
        if size is not None and tuple(found.shape[-2:]) != size:
            raise ParameterError(
                f"{self._title} = {source!r} has {found.shape[-1]} x {found.shape[-2]} pixels, but the detector has"
                f" {size[1]} x {size[0]} (width x height); give a mask of the whole detector, before binning and ROI"
            )

    def __dir__(self) -> list[str]:
        return ["clear", "description", "file", "masked_fraction", "set", "shape"]

    def __info__(self) -> str:
        lines = [f"{self._title} (for pipeline {self._processing.pipeline}):"]
        lines.append(table(self._rows()) if self.file is not None else '  none; set one with .set("file")')
        names = {"processing.mask": self._processing.mask, "smx.mask": self._smx.mask}
        if len(set(names.values())) > 1:
            lines.append("  The pipelines have different masks: " + ", ".join(f"{k} = {v!r}" for k, v in names.items()))
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str, str]]:
        source = str(self.file)
        try:
            found = self._describe(source)
        except Lima2Error as error:
            return [("file", source, ""), ("problem", error.what, "")]
        rows = [
            ("file", source, ""),
            ("size", f"{found.shape[-1]} x {found.shape[-2]} pixels (width x height), {found.dtype}", ""),
            ("masked", f"{found.nonzero} pixels, {found.nonzero / found.size:.2%}", ""),
        ]
        try:
            self._check(source, found)
        except ParameterError as error:
            rows.append(("problem", error.what, ""))
        return rows


def _absolute(title: str, path: Any) -> str:
    """A path that means the same to receivers, which have directories of their own."""
    if not isinstance(path, (str, Path)) or not str(path):
        raise ParameterError(
            f"{title} is a file, not a {type(path).__name__}; save an array with numpy.save('/path/mask.npy', array),"
            " where the receivers can read it, and give that path"
        )
    name, separator, inside = str(path).partition("::")
    return f"{Path(name).expanduser().absolute()}{separator}{inside}"
