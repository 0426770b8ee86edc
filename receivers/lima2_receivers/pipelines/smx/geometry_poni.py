"""Radial bins from a PONI file of pyFAI."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.kernels.smx_types import RadialBins
from lima2_receivers.pipelines.maps import map_version, unreadable_refused
from lima2_receivers.pipelines.smx.geometry import Geometry

WHAT = "fai.poni_path"

#: Files named inside a PONI file (detectors with distortion or a mask of their own).
NAMED_FILE = re.compile(r'"(?:filename|splinefile|splineFile)"\s*:\s*"([^"]+)"')

#: What says that a text is a PONI file; pyFAI takes any text for the default geometry.
NEEDED_KEYS = re.compile(r'^\W*(?:distance|dist)"?\s*:', re.IGNORECASE | re.MULTILINE)

_QUIET = ("pyFAI.geometry.core", "pyFAI.io.ponifile", "pyFAI.detectors", "pyFAI.detectors._common")


def read_poni(fai: Fai) -> str:
    """Text of the PONI file; `ParameterError` when it cannot be read or is something else."""
    map_version(fai.poni_path, WHAT)
    with unreadable_refused(fai.poni_path, WHAT):
        raw = Path(fai.poni_path).read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if not NEEDED_KEYS.search(text):
        raise ParameterError(f"{WHAT}: {fai.poni_path} is no PONI file: it has no line 'Distance: ...'")
    return text


def poni_files(text: str) -> list[str]:
    """Paths of the files that a PONI text names."""
    return NAMED_FILE.findall(text)


def poni_key(text: str, fai: Fai, info: FrameInfo, masked: np.ndarray) -> str:
    """Changes when the geometry of this PONI text would: a hash of contents, parameters and pyFAI's version."""
    content = hashlib.blake2b(digest_size=20)
    for name in poni_files(text):
        with contextlib.suppress(OSError):
            content.update(Path(name).read_bytes())
    parts: list[Any] = [
        text,
        importlib.metadata.version("pyfai"),
        (info.height, info.width),
        (fai.nb_bins, fai.unit),
        fai.correct_solid_angle,
        fai.polarization_factor if fai.correct_polarization else None,
    ]
    content.update(repr(parts).encode())
    content.update(np.packbits(masked).tobytes())
    return content.hexdigest()


def poni_geometry(fai: Fai, info: FrameInfo, masked: np.ndarray) -> Geometry:
    """Radial bins for frames like ``info``, without pixels that are ``masked`` (bool, height * width) or no pixels
    of the detector; correction maps when asked for. Radii are in ``fai.unit``, bin centres evenly spaced."""
    integrator = _load(fai.poni_path)
    detector = integrator.detector
    shape = (info.height, info.width)
    _check_detector(integrator, fai, shape)
    from pyFAI.units import to_unit

    unit = to_unit(fai.unit)
    gaps = detector.mask
    mask = masked.reshape(shape) if gaps is None else masked.reshape(shape) | (np.asarray(gaps) != 0)
    if mask.all():
        raise ParameterError(f"{WHAT}: no pixel is left: mask and gaps of {detector.name} cover the whole frame")
    try:
        with _quiet():
            builder = integrator.setup_sparse_integrator(
                shape,
                fai.nb_bins,
                mask=mask.astype(np.int8),
                unit=unit,
                split="no",
                algo="CSR",
                scale=False,
            )
            radius = integrator.array_from_unit(shape, "center", unit, scale=False)
            solid_angle = integrator.solidAngleArray(shape) if fai.correct_solid_angle else None
            factor = fai.polarization_factor
            polarization = integrator.polarization(shape, factor=factor) if fai.correct_polarization else None
    except Exception as error:
        raise ParameterError(f"{WHAT}: {fai.poni_path}: pyFAI cannot make radial bins of it: {error}") from error
    coefs, indices, indptr = builder.lut
    bins = RadialBins(
        shape=shape,
        centers=np.asarray(builder.bin_centers * unit.scale, np.float32),
        indptr=np.asarray(indptr, np.int32),
        indices=np.asarray(indices, np.int32),
        coefs=None if (coefs == 1).all() else np.asarray(coefs, np.float32),
        radius=np.where(mask, np.nan, radius * unit.scale).astype(np.float32).ravel(),
    )
    return Geometry(bins, _flat(solid_angle), _flat(polarization), _description(integrator))


def _load(path: str) -> Any:
    from pyFAI import load  # 1.2 s to import, needed only when the geometry is not in the cache

    try:
        with _quiet():
            return load(path)
    except Exception as error:
        text = str(error).partition("\n")[0]
        raise ParameterError(f"{WHAT}: {path} is no PONI file that pyFAI can read: {text}") from error


def _check_detector(integrator: Any, fai: Fai, shape: tuple[int, int]) -> None:
    detector = integrator.detector
    if not (detector.pixel1 and detector.pixel2):
        raise ParameterError(f"{WHAT}: {fai.poni_path} gives no pixel size; add it to Detector_config")
    if detector.shape is not None and tuple(detector.shape) != shape:
        theirs = f"{detector.shape[1]} x {detector.shape[0]}"
        raise ParameterError(
            f"{WHAT}: {fai.poni_path} is for the detector {detector.name} of {theirs} pixels (width x height), but raw "
            f"frames have {shape[1]} x {shape[0]}; give the geometry of this detector"
        )
    if fai.unit.startswith("q_") and not integrator.wavelength:
        raise ParameterError(f"{WHAT}: {fai.poni_path} has no Wavelength, which unit = {fai.unit} needs")


def _description(integrator: Any) -> dict[str, Any]:
    detector = integrator.detector
    known: dict[str, Any] = {
        "poni": json.dumps(integrator.get_config(), default=str),
        "detector": str(detector.name),
        "distance": float(integrator.dist),
        "x_pixel_size": float(detector.pixel2),
        "y_pixel_size": float(detector.pixel1),
    }
    if integrator.wavelength:
        known["wavelength"] = float(integrator.wavelength)
    with contextlib.suppress(Exception):  # no direct beam on the detector's plane: at 90 degrees, say
        flat = integrator.getFit2D()
        center = float(flat["centerX"]), float(flat["centerY"])
        if all(map(math.isfinite, center)):
            known["beam_center_x"], known["beam_center_y"] = center
    return known


def _flat(pixels: np.ndarray | None) -> np.ndarray | None:
    return None if pixels is None else np.ascontiguousarray(pixels, np.float32).ravel()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """pyFAI logs what we raise as errors; without this the user reads it twice."""
    loggers = [logging.getLogger(name) for name in _QUIET]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, state in zip(loggers, before, strict=True):
            logger.disabled = state
