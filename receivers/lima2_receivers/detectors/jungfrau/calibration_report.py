"""What a calibration looks like: numbers of each module and stage, as text, and maps as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import NotAvailableError
from lima2_receivers.detectors.jungfrau.calibration import (
    MASK_DEAD,
    MASK_NOISY,
    MASK_USER,
    MASK_WRONG_STAGE,
    STAGES,
    Calibration,
)
from lima2_receivers.kernels.jungfrau import Assembler
from lima2_receivers.kernels.jungfrau_layout import Layout

#: Names of the mask's bits.
FAULTS = {"dead": MASK_DEAD, "noisy": MASK_NOISY, "wrong stage": MASK_WRONG_STAGE, "by user": MASK_USER}

#: Part of the pixels at both ends that a picture shows as darkest and brightest.
CUT_PERCENT = 1.0

_TITLE_PIXELS = 16
_BAD_COLOUR, _GAP_COLOUR = (220, 30, 30), (40, 40, 70)


@dataclass(frozen=True)
class StageReport:
    """One stage of one module: medians over its good pixels [ADU, and keV where the gain is known], not a number where
    unknown; ``spread`` is that of the pedestals between pixels (68 % of them within twice this)."""

    module: int
    module_id: int
    stage: str
    pedestal: float
    spread: float
    noise: float
    noise_kev: float


@dataclass(frozen=True)
class CalibrationReport:
    """All stages with known pedestals, and numbers of bad pixels per module: in all (``bad``), and by fault (a pixel
    can have several)."""

    stages: tuple[StageReport, ...]
    bad: tuple[int, ...]
    faults: dict[str, tuple[int, ...]]
    nb_pixels: int

    def __str__(self) -> str:
        lines = ["module    id  stage  pedestal/ADU  spread/ADU  noise/ADU  noise/keV"]
        for row in self.stages:
            numbers = f"{row.pedestal:12.1f}  {row.spread:10.1f}  {row.noise:9.2f}  {row.noise_kev:9.3f}"
            lines.append(f"{row.module:6d} {row.module_id:5d}  {row.stage:5s}  {numbers}")
        for module, bad in enumerate(self.bad):
            kinds = ", ".join(f"{name} {counts[module]}" for name, counts in self.faults.items() if counts[module])
            lines.append(
                f"module {module}: {bad} of {self.nb_pixels} pixels are bad" + (f" ({kinds})" if kinds else "")
            )
        return "\n".join(lines)


def report_on(calibration: Calibration) -> CalibrationReport:
    """The numbers of a calibration."""
    stages = []
    for module, module_id in enumerate(calibration.module_ids):
        good = calibration.mask[module] == 0
        for number, name in enumerate(STAGES):
            pedestals, noise, gains = (
                np.where(good, maps[number, module], np.nan)
                for maps in (calibration.pedestals, calibration.noise, calibration.gains)
            )
            if np.isfinite(pedestals).any():
                low, middle, high = np.nanpercentile(pedestals, (16, 50, 84))
                with np.errstate(divide="ignore", invalid="ignore"):
                    in_kev = noise / np.abs(gains)
                medians = _median(noise), _median(in_kev)
                stages.append(StageReport(module, module_id, name, float(middle), float(high - low) / 2, *medians))
    mask = calibration.mask
    faults = {name: tuple(int((of & bit).astype(bool).sum()) for of in mask) for name, bit in FAULTS.items()}
    bad = tuple(int((of_module != 0).sum()) for of_module in mask)
    return CalibrationReport(tuple(stages), bad, faults, mask[0].size)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def save_pictures(calibration: Calibration, layout: Layout, folder: str | Path) -> list[Path]:
    """PNG pictures of the assembled maps: pedestal and noise of each known stage, and the mask; returns their paths.

    Grey runs from the darkest to the brightest value but for 1 % at both ends, which the title names; bad pixels are
    red. `NotAvailableError` where Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise NotAvailableError("pictures need Pillow: pip install pillow") from None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    assembler = Assembler(layout, np.nan)
    bad = assembler((calibration.mask != 0).astype(np.float32))
    maps = {
        f"{what}_{name}": maps[number]
        for number, name in enumerate(STAGES)
        for what, maps in (("pedestal", calibration.pedestals), ("noise", calibration.noise))
        if np.isfinite(maps[number]).any()
    }
    paths = []
    for name, values in {**maps, "mask": (calibration.mask != 0).astype(np.float32)}.items():
        unit = "" if name == "mask" else " ADU"
        pixels, low, high = _grey(assembler(np.ascontiguousarray(values, np.float32)), bad)
        height, width = bad.shape
        picture = Image.new("RGB", (width, height + _TITLE_PIXELS), "white")
        picture.paste(Image.fromarray(pixels), (0, _TITLE_PIXELS))
        title = f"{name} {low:.5g} to {high:.5g}{unit}, {calibration.taken_at:%Y-%m-%d %H:%M}"
        ImageDraw.Draw(picture).text((2, 2), title, fill="black")
        paths.append(folder / f"{name}.png")
        picture.save(paths[-1])
    return paths


def _grey(image: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Pixels (rows, columns, 3) of a picture, and the values of black and white."""
    shown: Any = image[np.isfinite(image) & (bad == 0)]
    low, high = np.percentile(shown, (CUT_PERCENT, 100 - CUT_PERCENT)) if shown.size else (0.0, 0.0)
    scaled = (np.nan_to_num(image) - low) / (high - low if high > low else 1.0)
    pixels = np.repeat((np.clip(scaled, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=-1)
    pixels[np.isnan(bad)] = _GAP_COLOUR
    pixels[(bad > 0) | (np.isfinite(bad) & ~np.isfinite(image))] = _BAD_COLOUR
    return pixels, float(low), float(high)
