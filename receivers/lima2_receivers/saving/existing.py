"""Files that are there already: what a saving policy makes of them, and whether a directory can take new ones."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from lima2_bliss.contract import SavingError
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.failure import saving_error

#: Space [bytes] that must stay free beside what is expected.
SAFETY_BYTES = 256 << 20


def existing_files(saving: Saving, ranks: Collection[int] | None = None) -> list[Path]:
    """Complete files of this prefix, sorted: receiver files of ``ranks`` (None: of all) and the master file."""
    directory = Path(saving.base_path)
    pattern = re.compile(re.escape(saving.filename_prefix) + r"_(?:(?P<rank>\d+)_\d{5,}|master)\.h5")
    found = []
    for name in _names(directory):
        match = pattern.fullmatch(name)
        if match and (match["rank"] is None or ranks is None or int(match["rank"]) in ranks):
            found.append(directory / name)
    return sorted(found)


def refuse_existing(saving: Saving, ranks: Collection[int] | None = None) -> None:
    """Raise a `SavingError` naming a file that this saving would overwrite."""
    found = existing_files(saving, ranks)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SavingError(
            f"{found[0]} exists already{more}: choose another filename_prefix or base_path, or file_exists_policy "
            "'append' (next free prefix number) or 'overwrite'",
            path=found[0],
        )


def resolve_prefix(saving: Saving, ranks: Iterable[int]) -> Saving:
    """The saving that all receivers and the master use: call it once, at one place, before any of them prepares.

    ``abort`` raises a `SavingError` when files of ``ranks`` or the master exist, ``overwrite`` changes nothing,
    ``append`` takes the first prefix ``PREFIX_0001``, ``PREFIX_0002``, ... after the last one that is in use.
    """
    present = set(ranks)
    if saving.file_exists_policy == "abort":
        refuse_existing(saving, present)
    if saving.file_exists_policy != "append" or not _names_with_prefix(saving):
        return saving
    numbered = re.compile(re.escape(saving.filename_prefix) + r"_(\d{4})_(?:\d+_\d{5,}|master)\.h5")
    used = [int(match[1]) for name in _names(Path(saving.base_path)) if (match := numbered.fullmatch(_shown(name)))]
    return saving.model_copy(update={"filename_prefix": f"{saving.filename_prefix}_{max(used, default=0) + 1:04d}"})


def preflight(
    saving: Saving, nbytes_expected: int = 0, *, expected_ratio: float = 1.0, safety_bytes: int = SAFETY_BYTES
) -> None:
    """Raise a `SavingError` with path and remedy unless ``base_path`` can take ``nbytes_expected`` bytes of pixels.

    ``expected_ratio`` is the compression ratio to reckon with; ``safety_bytes`` must stay free beside.
    """
    directory = Path(saving.base_path)
    if not directory.exists():
        raise SavingError(f"directory {directory} does not exist: create it, or change base_path", path=directory)
    if not directory.is_dir():
        raise SavingError(f"{directory} is not a directory: give a directory as base_path", path=directory)
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise saving_error("write in", directory, error) from error
    needed = int(nbytes_expected / expected_ratio) + safety_bytes
    if free < needed:
        raise SavingError(
            f"disk of {directory} has {free / 1e9:.2f} GB free, {needed / 1e9:.2f} GB are needed "
            f"({safety_bytes / 1e9:.2f} GB of them as safety): free space, take fewer frames, or change base_path",
            path=directory,
        )


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError as error:
        raise saving_error("list", directory, error) from error


def _shown(name: str) -> str:
    """Final name of a file that is still being written under its hidden name."""
    return name[1 : -len(".part")] if name.startswith(".") and name.endswith(".part") else name


def _names_with_prefix(saving: Saving) -> bool:
    """True when this very prefix, or a numbered one made from it, is in use by any receiver."""
    pattern = re.compile(re.escape(saving.filename_prefix) + r"(?:_\d{4})?_(?:\d+_\d{5,}|master)\.h5")
    return any(pattern.fullmatch(_shown(name)) for name in _names(Path(saving.base_path)))
