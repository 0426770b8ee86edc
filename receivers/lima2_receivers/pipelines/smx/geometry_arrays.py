"""Radial bins from ready arrays (the files that LImA2 takes), and such files from radial bins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.kernels.smx_types import RadialBins
from lima2_receivers.pipelines.maps import load_map, load_vector, map_version, open_hdf5, unreadable_refused
from lima2_receivers.pipelines.smx.geometry import Geometry, spacing_faults, without_pixels

if TYPE_CHECKING:
    from lima2_receivers.pipelines.smx.tables import Tables

#: File names that `write_arrays` gives, as LImA2's own.
FILES = {
    "csr_path": "csr.h5",
    "radius1d_path": "bin_centers.h5",
    "radius2d_path": "r_center.h5",
    "mask_path": "mask.h5",
    "flat_path": "normalization.h5",
    "dark_path": "dark.h5",
    "dark_variance_path": "dark_variance.h5",
    "variance_path": "variance.h5",
}

#: Pixels may lie outside the outer bins by this share of a bin: radii are rounded to float32.
EDGE_TOLERANCE = 1e-3


def array_geometry(fai: Fai, info: FrameInfo, masked: np.ndarray) -> Geometry:
    """Radial bins from ``radius1d_path``, ``radius2d_path`` and, if given, ``csr_path``; one error with all faults."""
    faults: list[str] = []
    centers = radius = None
    try:
        centers = load_vector(fai.radius1d_path, "fai.radius1d_path").astype(np.float64)
        faults += spacing_faults(centers, f"fai.radius1d_path: {fai.radius1d_path}")
    except ParameterError as error:
        faults.append(error.what)
    try:
        radius = load_map(fai.radius2d_path, info, "fai.radius2d_path")[0].ravel().astype(np.float32)
    except ParameterError as error:
        faults.append(error.what)
    matrix = None
    if fai.csr_path:
        try:
            matrix = _read_matrix(fai.csr_path)
            faults += _matrix_faults(matrix, info, None if centers is None else len(centers), fai.csr_path)
        except ParameterError as error:
            faults.append(error.what)
    if faults or centers is None or radius is None:
        raise ParameterError("; ".join(faults))
    coefs, indices, indptr = matrix or _nearest(centers, radius)
    ones = coefs is None or bool((coefs == 1).all())
    bins = RadialBins(
        shape=(info.height, info.width),
        centers=centers.astype(np.float32),
        indptr=indptr.astype(np.int32),
        indices=indices.astype(np.int32),
        coefs=None if ones or coefs is None else coefs.astype(np.float32),
        radius=radius,
    )
    return Geometry(without_pixels(bins, masked))


Matrix = tuple[np.ndarray | None, np.ndarray, np.ndarray]


def _read_matrix(source: str) -> Matrix:
    """(data or None, indices, indptr) of ``file.h5`` or ``file.h5::/group``: at the root, or in the only such group."""
    what = "fai.csr_path"
    map_version(source, what)
    name, _, inside = source.partition("::")
    with unreadable_refused(source, what), open_hdf5(name, what) as file:
        groups = [inside] if inside else _matrix_groups(file)
        if len(groups) != 1:
            found = ", ".join(groups) or "none"
            text = "needs datasets 'indices' and 'indptr' (and 'data') at the root or in one group"
            raise ParameterError(f"{what}: {source} {text}; groups with them: {found}; choose with ::/group")
        group = file.get(groups[0])
        if not isinstance(group, h5py.Group) or not _is_matrix(group):
            raise ParameterError(f"{what}: {source}: {groups[0]} is no group with datasets 'indices' and 'indptr'")
        return group["data"][()] if "data" in group else None, group["indices"][()], group["indptr"][()]


def _is_matrix(group: h5py.Group) -> bool:
    return all(isinstance(group.get(name), h5py.Dataset) for name in ("indices", "indptr"))


def _matrix_groups(file: h5py.File) -> list[str]:
    found = ["/"] if _is_matrix(file) else []

    def look(path: str, node: object) -> None:
        if isinstance(node, h5py.Group) and _is_matrix(node):
            found.append(f"/{path}")

    file.visititems(look)
    return found


def _matrix_faults(matrix: Matrix, info: FrameInfo, nb_bins: int | None, source: str) -> list[str]:
    where = f"fai.csr_path: {source}"
    data, indices, indptr = matrix
    faults = []
    for name, array, kinds in (("data", data, "iuf"), ("indices", indices, "iu"), ("indptr", indptr, "iu")):
        if array is not None and (array.ndim != 1 or array.dtype.kind not in kinds):
            wanted = "numbers" if "f" in kinds else "integers"
            faults.append(f"{where}: {name} is {array.dtype} {array.shape}; it has to be a row of {wanted}")
    if faults:
        return faults
    if nb_bins is not None and len(indptr) != nb_bins + 1:
        faults.append(f"{where}: {max(len(indptr) - 1, 0)} bins, but radius1d_path has {nb_bins}")
    pointers = indptr.astype(np.int64)
    if not len(pointers) or pointers[0] != 0 or pointers[-1] != len(indices) or (np.diff(pointers) < 0).any():
        faults.append(f"{where}: indptr has to ascend from 0 to the number of indices ({len(indices)})")
    if data is not None and len(data) != len(indices):
        faults.append(f"{where}: {len(data)} values of data for {len(indices)} indices; both must be the same")
    if data is not None and not (np.isfinite(data).all() and (data >= 0).all()):
        faults.append(f"{where}: data has values that are negative or not finite")
    size = info.height * info.width
    if len(indices) and not (indices.min() >= 0 and indices.max() < size):
        given = f"{indices.min()} to {indices.max()}"
        faults.append(
            f"{where}: indices from {given} do not lie in raw frames of {info.width} x {info.height} = {size} pixels; "
            "give the matrix of this detector"
        )
    return faults


def _nearest(centers: np.ndarray, radius: np.ndarray) -> Matrix:
    """Each pixel in the bin with the nearest centre; pixels more than half a bin outside are in none."""
    step = (centers[-1] - centers[0]) / (len(centers) - 1)
    place = (radius.astype(np.float64) - centers[0]) / step + 0.5
    pixels = np.flatnonzero((place >= -EDGE_TOLERANCE) & (place <= len(centers) + EDGE_TOLERANCE))
    bins = np.clip(np.floor(place[pixels]), 0, len(centers) - 1).astype(np.int32)
    order = np.argsort(bins, kind="stable")
    indptr = np.concatenate(([0], np.cumsum(np.bincount(bins, minlength=len(centers)))))
    return None, pixels[order], indptr


def write_arrays(tables: Tables, directory: str | Path) -> dict[str, str]:
    """Write a set-up as ready arrays, one HDF5 file each; returns the `Fai` parameters that read them.

    The normalisation is written as one map (``flat_path``). Tools of LImA2 read the same files.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    bins, corrections = tables.bins, tables.corrections
    with h5py.File(folder / FILES["csr_path"], "w") as file:
        file["data"] = np.ones(len(bins.indices), np.float32) if bins.coefs is None else bins.coefs
        file["indices"] = bins.indices
        file["indptr"] = bins.indptr
    arrays = {
        "radius1d_path": ("bin_centers", bins.centers),
        "radius2d_path": ("r_center", bins.radius),
        "mask_path": ("mask", None if corrections.masked is None else corrections.masked.astype(np.uint8)),
        "flat_path": ("normalization", corrections.normalization),
        "dark_path": ("dark", corrections.dark),
        "dark_variance_path": ("dark_variance", corrections.dark_variance),
        "variance_path": ("variance", corrections.variance),
    }
    written = {"csr_path": str(folder / FILES["csr_path"]), "unit": tables.unit}
    for parameter, (name, array) in arrays.items():
        if array is None:
            continue
        with h5py.File(folder / FILES[parameter], "w") as file:
            data = file.create_dataset(name, data=array if array is bins.centers else array.reshape(bins.shape))
            data.attrs["unit"] = tables.unit if parameter.startswith("radius") else ""
        written[parameter] = str(folder / FILES[parameter])
    return written
