"""Sums of dark frames in files, one of each receiver and acquisition, and a calibration from any number of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import ParameterError, SavingError
from lima2_receivers.detectors.jungfrau.calibration import STAGES, Calibration, all_stages
from lima2_receivers.detectors.jungfrau.calibration_file import FORMAT as CALIBRATION_FORMAT
from lima2_receivers.detectors.jungfrau.calibration_file import load_calibration, save_calibration
from lima2_receivers.detectors.jungfrau.gain_files import read_hdf5_gains, read_psi_gains
from lima2_receivers.detectors.jungfrau.pedestals import PedestalLimits, PedestalTaker, StageSums, gains_only
from lima2_receivers.detectors.jungfrau.versioned_file import read_versioned, write_new_file

FORMAT = "lima2-bliss Jungfrau sums of dark frames"

#: Raised by one when older programs cannot read the file any more.
VERSION = 1

ARRAYS = {"totals": "i8", "squares": "i8", "counts": "u4", "wrong": "u4"}


@dataclass(frozen=True)
class DarkSums:
    """What one receiver added up in one acquisition. ``modes``: the gain mode of each stage; ``module_ids`` is empty
    where no header told them; ``receivers``: how many took part."""

    taker: PedestalTaker
    module_ids: tuple[int, ...]
    taken_at: datetime
    conditions: Mapping[str, float | str]
    modes: Mapping[str, str]
    uuid: str = ""
    rank: int = 0
    receivers: int = 1


# --- files ----------------------------------------------------------------------------------------------------------


def sums_path(prefix: str, rank: int) -> Path:
    """Where a receiver writes its sums."""
    return Path(f"{prefix}_{rank}.h5")


def require_free(path: Path) -> None:
    """`SavingError` when a file is there already, or no folder for it."""
    if path.exists():
        raise SavingError(f"{path} exists already and is kept; give another det.pedestals.path")
    require_folder(path, "det.pedestals.path")


def require_folder(path: Path, parameter: str) -> None:
    """`SavingError` when there is no folder for a file that ``parameter`` asks for."""
    if not path.parent.is_dir():
        raise SavingError(f"{path}: there is no folder {path.parent}; make it, or give another {parameter}")


def save_sums(path: str | Path, sums: DarkSums) -> None:
    """Write a new file, which appears when it is complete; `SavingError` if it exists or cannot be written."""
    write_new_file(path, "sums of dark frames", lambda file: _write(file, sums))


def _write(file: Any, sums: DarkSums) -> None:
    file.attrs.update(format=FORMAT, version=VERSION, uuid=sums.uuid, rank=sums.rank, receivers=sums.receivers)
    file.attrs.update(taken_at=sums.taken_at.isoformat(), conditions=json.dumps(dict(sums.conditions)))
    file.attrs["shape"] = sums.taker.shape
    file["module_ids"] = np.array(sums.module_ids, np.int64)
    for stage, of_stage in sums.taker.sums.items():
        group = file.create_group(stage)
        group.attrs.update(frames=of_stage.frames, gain_mode=sums.modes[stage])
        for name in ("totals", "squares"):
            group[name] = getattr(of_stage, name)
        for name in ("counts", "wrong"):  # nearly the same everywhere
            values = getattr(of_stage, name)
            group.create_dataset(
                name, data=values, chunks=(1, *values.shape[1:]), compression="gzip", compression_opts=1
            )


def load_sums(path: str | Path) -> DarkSums:
    """Read a file; `ParameterError` says what is wrong with one that holds no sums, or is of a newer version."""
    return read_versioned(path, "sums of dark frames", FORMAT, VERSION, _read)


def _read(file: Any) -> DarkSums:
    attributes: Mapping[str, Any] = file.attrs
    modules, rows, columns = (int(length) for length in attributes["shape"])
    taker = PedestalTaker((modules, rows, columns))
    modes = {}
    for stage in STAGES:
        if stage in file:
            group = file[stage]
            arrays = {name: group[name][()].astype(dtype, copy=False) for name, dtype in ARRAYS.items()}
            taker.add_sums(stage, StageSums(**arrays, frames=int(group.attrs["frames"])))
            modes[stage] = str(group.attrs["gain_mode"])
    return DarkSums(
        taker=taker,
        module_ids=tuple(int(number) for number in file["module_ids"][()]),
        taken_at=datetime.fromisoformat(attributes["taken_at"]),
        conditions=json.loads(attributes["conditions"]),
        modes=modes,
        uuid=str(attributes["uuid"]),
        rank=int(attributes["rank"]),
        receivers=int(attributes["receivers"]),
    )


# --- from files to a calibration --------------------------------------------------------------------------------------


def merge_to_file(sums: Sequence[str], gains: str | Sequence[str], output: str) -> Calibration:
    """Make a calibration as `merge` does, and save it as a new file."""
    if Path(output).exists():  # before the work
        raise SavingError(f"{output} exists already and is kept; give another name for the calibration")
    made = merge(sums, gains)
    save_calibration(output, made)
    return made


def merge(
    sums: Sequence[str], gains: Calibration | str | Sequence[str], limits: PedestalLimits | None = None
) -> Calibration:
    """A calibration from all dark frames in files of sums, added exactly, and gains.

    ``sums``: files, or prefixes PREFIX that stand for all of PREFIX_RECEIVER.h5, of which none may be missing.
    ``gains``: a calibration, its file, an HDF5 file of jungfrau_utils, or PSI's binary files (one for each module).
    `ParameterError` when files differ in shape, modules or conditions, or do not fit the gains.
    """
    total: DarkSums | None = None
    for path in sum_files(sums):
        found = load_sums(path)
        total = found if total is None else _added(total, found, path)
    if total is None:
        raise ParameterError("no files of sums were given; take dark frames with det.pedestals first")
    if not total.taker.frames:
        raise ParameterError(f"there is no dark frame in {', '.join(map(str, sums))}; take dark frames anew")
    start = gains if isinstance(gains, Calibration) else read_gains(gains, total)
    if total.module_ids and total.module_ids != start.module_ids:
        raise ParameterError(
            f"gains of modules {list(start.module_ids)} for dark frames of {list(total.module_ids)}: give those of "
            "this detector, in its order"
        )
    return total.taker.calibrate(start, total.taken_at, limits, **total.conditions)


def sum_files(sums: Sequence[str]) -> Iterator[Path]:
    """The files that are meant, each once; `ParameterError` names what is missing."""
    seen: set[Path] = set()
    for given in sums:
        for path in [Path(given)] if Path(given).is_file() else _of_prefix(given):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _of_prefix(prefix: str) -> list[Path]:
    folder, name = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(name) + r"_(\d+)\.h5")
    found = {int(match[1]): path for path in folder.glob("*.h5") if (match := pattern.fullmatch(path.name))}
    if not found:
        raise ParameterError(f"{prefix}: there is no such file, and no files {prefix}_RECEIVER.h5")
    with h5py.File(found[min(found)], "r") as file:
        receivers = int(file.attrs.get("receivers", 0))
    missing = sorted(set(range(receivers)) - set(found))
    if missing:
        raise ParameterError(
            f"{prefix}: sums of receivers {missing} of {receivers} are missing; wait for them, or name the files"
        )
    return [found[rank] for rank in sorted(found)]


def _added(total: DarkSums, more: DarkSums, path: Path) -> DarkSums:
    """Both together; ``more`` is of ``path``."""
    if more.taker.shape != total.taker.shape:
        raise ParameterError(f"{path}: dark frames of {more.taker.shape}, those before of {total.taker.shape}")
    if more.module_ids and total.module_ids and more.module_ids != total.module_ids:
        raise ParameterError(
            f"{path}: dark frames of modules {list(more.module_ids)}, those before of {list(total.module_ids)}"
        )
    for kind in ("conditions", "modes"):
        before, now = getattr(total, kind), getattr(more, kind)
        other = [
            f"{name} {now[name]} after {before[name]}" for name in now if name in before and now[name] != before[name]
        ]
        if other:
            raise ParameterError(f"{path}: taken in another way than those before ({', '.join(other)})")
    for stage, sums in more.taker.sums.items():
        total.taker.add_sums(stage, sums)
    return DarkSums(
        taker=total.taker,
        module_ids=total.module_ids or more.module_ids,
        taken_at=max(total.taken_at, more.taken_at),
        conditions={**total.conditions, **more.conditions},
        modes={**total.modes, **more.modes},
    )


def read_gains(gains: str | Sequence[str], sums: DarkSums) -> Calibration:
    """Gains for these sums, from a file or files as `merge` takes them."""
    paths = [gains] if isinstance(gains, str) else list(gains)
    modules = sums.taker.shape[0]
    if len(paths) == 1 and h5py.is_hdf5(paths[0]):
        with h5py.File(paths[0], "r") as file:
            ours = file.attrs.get("format") == CALIBRATION_FORMAT
        if ours:
            return load_calibration(paths[0])
        maps = read_hdf5_gains(paths[0], modules)
    else:
        maps = read_psi_gains(paths)
    if maps.shape[1] != modules:
        raise ParameterError(f"gains of {maps.shape[1]} modules for dark frames of {modules}: give one file for each")
    if not sums.module_ids:
        raise ParameterError("the dark frames do not say of which modules they are; give gains as a calibration file")
    return gains_only(all_stages(maps), sums.module_ids, sums.taken_at, ", ".join(paths))
