"""Gain maps [ADU/keV] as others write them: PSI's binary files per module, and HDF5 as jungfrau_utils reads them.

All give float64 (maps, modules, 512, 1024) in the order G0, G1, G2, HG0, HG1, HG2, of which a file may have the first
3, 4 or 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import MODULE_COLUMNS, MODULE_ROWS

MAP_BYTES = MODULE_ROWS * MODULE_COLUMNS * 8
MAP_COUNTS = (3, 6)


def read_psi_gains(paths: Sequence[str | Path]) -> np.ndarray:
    """Gains of modules, one file each in module order: doubles of this machine's byte order, 3 or 6 maps.

    `ParameterError` names a file that is missing, or whose size is not that of 3 or 6 maps; all files need as many.
    """
    modules = [_one_psi_file(Path(path)) for path in paths]
    counts = {len(module) for module in modules}
    if not modules or len(counts) > 1:
        listed = (
            ", ".join(f"{path}: {len(module)}" for path, module in zip(paths, modules, strict=True)) or "none given"
        )
        raise ParameterError(f"gain files need the same number of maps, one file per module ({listed})")
    return np.stack(modules, axis=1)


def _one_psi_file(path: Path) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size not in [count * MAP_BYTES for count in MAP_COUNTS]:
            raise ParameterError(
                f"{path}: {size} bytes are no gain file; 3 or 6 maps of {MODULE_ROWS} x {MODULE_COLUMNS} doubles are "
                f"{3 * MAP_BYTES} or {6 * MAP_BYTES}"
            )
        values = np.fromfile(path, np.float64)
    except OSError as error:
        raise ParameterError(f"{path}: gain file cannot be read: {error.strerror}") from None
    return values.reshape(-1, MODULE_ROWS, MODULE_COLUMNS)


def write_psi_gains(paths: Sequence[str | Path], gains: np.ndarray) -> None:
    """Write gains (3 or 6, modules, 512, 1024) as one file per module; existing files are replaced."""
    if gains.shape[2:] != (MODULE_ROWS, MODULE_COLUMNS) or len(gains) not in MAP_COUNTS or gains.shape[1] != len(paths):
        raise ParameterError(f"gains {gains.shape} for {len(paths)} files: one (3 or 6, 512, 1024) each is needed")
    for module, path in enumerate(paths):
        Path(path).write_bytes(np.ascontiguousarray(gains[:, module], np.float64).tobytes())


def read_hdf5_gains(path: str | Path, nb_modules: int, dataset: str = "gains") -> np.ndarray:
    """Maps of an HDF5 dataset (4 or another number of maps, modules * 512, 1024), modules on top of each other.

    `ParameterError` when the file or dataset is missing or of another shape. Pedestals in such files read the same way.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if dataset not in file:
                raise ParameterError(f"{path}: there is no dataset {dataset!r}; there are: {', '.join(file) or 'none'}")
            values = np.asarray(file[dataset], np.float64)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read as HDF5: {error}") from None
    expected = (nb_modules * MODULE_ROWS, MODULE_COLUMNS)
    if values.ndim != 3 or values.shape[1:] != expected or len(values) not in (3, 4, 6):
        raise ParameterError(
            f"{path}: {dataset} has shape {values.shape}; for {nb_modules} modules it is (3, 4 or 6, {expected[0]}, "
            f"{expected[1]}), without gaps"
        )
    return values.reshape(len(values), nb_modules, MODULE_ROWS, MODULE_COLUMNS)
