"""All that the SMX kernels and files need to know of an experiment, from what users have: PONI file or ready arrays."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError, SparseInfo
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.kernels.smx_types import PixelCorrections, RadialBins
from lima2_receivers.pipelines.maps import map_version, mask_key
from lima2_receivers.pipelines.smx.corrections import MAPS, combined, read_maps
from lima2_receivers.pipelines.smx.geometry import UNIT_LABELS, Geometry, bin_faults, radial_span, range_faults
from lima2_receivers.pipelines.smx.geometry_arrays import array_geometry, write_arrays
from lima2_receivers.pipelines.smx.geometry_cache import cached_geometry
from lima2_receivers.pipelines.smx.geometry_poni import poni_files, poni_geometry, poni_key, read_poni

__all__ = ["Tables", "load_tables", "table_faults", "write_arrays"]

#: Set-ups kept in memory for the next prepare; one of 4.5 megapixels has 40 to 100 MB.
KEPT_SETS = 2

READY_ARRAYS = ("csr_path", "radius1d_path", "radius2d_path")

#: Parameters that change what is in `Tables`.
CONTENT = (
    *("nb_bins", "unit", "correct_solid_angle", "correct_polarization", "polarization_factor"),
    *("normalization_factor", "do_dummy", "dummy", "delta_dummy"),
)


@dataclass(frozen=True)
class Tables:
    """Radial bins and pixel corrections of an acquisition; nobody writes to the arrays (which stay writable, because
    numba compiles kernels for read-only ones anew).

    Masked pixels are in no bin, have the radius NaN and are True in ``corrections.masked``. ``unit`` is the radial unit
    of all radii (scaled: m for r_m), ``span`` the smallest and largest radius. ``description`` holds names and plain
    values for file headers: ``poni`` (JSON text), ``beam_center_x`` and ``beam_center_y`` [px], ``distance`` [m],
    ``wavelength`` [m], ``x_pixel_size`` and ``y_pixel_size`` [m], as far as they are known.
    """

    bins: RadialBins
    corrections: PixelCorrections
    unit: str
    unit_label: str
    span: tuple[float, float]
    description: dict[str, Any] = field(default_factory=dict)

    def sparse_info(self, dtype: np.dtype, max_spots: int, dummy: float = 0.0) -> SparseInfo:
        """What sparse frames with intensities of ``dtype`` have in common."""
        bins, normalization = self.bins, self.corrections.normalization
        return SparseInfo(
            shape=bins.shape,
            dtype=np.dtype(dtype),
            radius=bins.centers,
            mask=bins.radius.reshape(bins.shape),
            unit=self.unit,
            normalization=None if normalization is None else normalization.reshape(bins.shape),
            dummy=dummy,
            max_spots=max_spots,
        )


_kept: OrderedDict[tuple, Tables] = OrderedDict()
_lock = threading.Lock()
_making = threading.Lock()


def load_tables(fai: Fai, info: FrameInfo, masked: np.ndarray | None = None, dummy: float | None = None) -> Tables:
    """Tables for raw frames like ``info``; `ParameterError` with all faults. The last ones are kept in memory, and
    geometries from PONI files also on disk (`geometry_cache`).

    ``masked`` (bool, height x width) and ``dummy`` are the detector's own: pixels that never, or in a frame have no
    value; a dummy of the parameters goes before.
    """
    tables, faults = _load(fai, info, masked, dummy)
    if tables is None or faults:
        raise ParameterError(f"parameters of fai refused ({len(faults)}): " + "; ".join(faults))
    return tables


def table_faults(fai: Fai, info: FrameInfo, masked: np.ndarray | None = None, dummy: float | None = None) -> list[str]:
    """One text for each fault of the set-up; none when `load_tables` would succeed."""
    return _load(fai, info, masked, dummy)[1]


def _load(fai: Fai, info: FrameInfo, masked: np.ndarray | None, dummy: float | None) -> tuple[Tables | None, list[str]]:
    left_out = (fai.dummy, fai.delta_dummy) if fai.do_dummy else None
    if left_out is None and dummy is not None and info.dtype.kind != "f":
        left_out = (dummy, 0.0)
    if info.nb_channels != 1:
        return None, [f"frames of {info.nb_channels} channels: radial bins are for frames of one channel"]
    faults: list[str] = []
    if fai.error_model == "variance" and not fai.variance_path:
        faults.append("fai.error_model = variance needs fai.variance_path; or take poisson, azimuthal or hybrid")
    files = _key(fai, info)
    key = None if files is None else (*files, mask_key(masked), left_out)
    with _making:  # the check and the build of one prepare, or of several receivers in one process
        tables = None if key is None else _remembered(key)
        if tables is None:
            tables = _make(fai, info, masked, left_out, faults)
            if tables is not None and key is not None:
                _remember(key, tables)
    if tables is not None:
        faults += range_faults(tables.span, fai.radius_min, fai.radius_max, tables.unit)
    return tables, faults


def _key(fai: Fai, info: FrameInfo) -> tuple | None:
    """Changes when a file or a parameter does; None when a file is missing."""
    paths = [getattr(fai, name) for name in ("poni_path", *READY_ARRAYS, *MAPS)]
    try:
        versions = [map_version(path, "") if path else None for path in paths]
        named = poni_files(read_poni(fai)) if fai.poni_path else []
        versions += [map_version(path, "") for path in named if Path(path).exists()]
    except ParameterError:
        return None
    return tuple(versions), info.shape, tuple(getattr(fai, name) for name in CONTENT)


def _make(
    fai: Fai,
    info: FrameInfo,
    masked_anyhow: np.ndarray | None,
    left_out: tuple[float, float] | None,
    faults: list[str],
) -> Tables | None:
    before = len(faults)
    maps = read_maps(fai, info, faults)
    if masked_anyhow is not None:
        np.logical_or(maps.masked, masked_anyhow.ravel(), out=maps.masked)
    try:
        geometry = _geometry(fai, info, maps.masked)
    except ParameterError as error:
        faults.append(error.what)
        return None
    bins = geometry.bins
    found = list(bin_faults(bins))
    faults += found if len(faults) == before else []  # a map that is missing would explain it
    if len(faults) > before:
        return None
    computed = [pixels for pixels in (geometry.solid_angle, geometry.polarization) if pixels is not None]
    divided = [*maps.divided, *computed]
    normalization = None
    if divided or fai.normalization_factor != 1:
        normalization = combined(divided or [np.ones(bins.radius.size, np.float32)], fai.normalization_factor)
    masked = ~np.isfinite(bins.radius)
    if normalization is not None and not (normalization[~masked] > 0).any():
        faults.append("fai: the normalisation is nowhere positive; check normalization_factor and the maps")
        return None
    corrections = PixelCorrections(
        dark=maps.dark,
        dark_variance=maps.dark_variance,
        variance=maps.variance,
        normalization=normalization,
        masked=masked if masked.any() else None,
        dummy=left_out,
    )
    return Tables(bins, corrections, fai.unit, UNIT_LABELS[fai.unit], radial_span(bins), geometry.description)


def _geometry(fai: Fai, info: FrameInfo, masked: np.ndarray) -> Geometry:
    if not fai.poni_path:
        _check_arrays(fai)
        return array_geometry(fai, info, masked)
    text = read_poni(fai)
    return cached_geometry(poni_key(text, fai, info, masked), lambda: poni_geometry(fai, info, masked))


def _check_arrays(fai: Fai) -> None:
    given = [name for name in READY_ARRAYS if getattr(fai, name)]
    missing = [name for name in ("radius1d_path", "radius2d_path") if name not in given]
    if not given:
        raise ParameterError(
            "fai: no geometry: give poni_path (a PONI file of pyFAI), or radius1d_path and radius2d_path with csr_path "
            "if there is a matrix"
        )
    if missing:
        raise ParameterError(f"fai: no geometry: {' and '.join(given)} also needs {' and '.join(missing)}")


def _remembered(key: tuple) -> Tables | None:
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
        return _kept.get(key)


def _remember(key: tuple, tables: Tables) -> None:
    with _lock:
        _kept[key] = tables
        while len(_kept) > KEPT_SETS:
            _kept.popitem(last=False)
