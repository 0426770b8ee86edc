"""HDF5 files with a format and a version in their attributes: written once and whole, refused in words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import h5py

from lima2_bliss.contract import ParameterError, SavingError

Content = TypeVar("Content")


def write_new_file(path: str | Path, what: str, write: Callable[[Any], None]) -> None:
    """Let ``write`` fill a new HDF5 file, which appears when it is complete; ``what`` it is, for the errors.

    `SavingError` if it exists or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        with h5py.File(temporary, "w") as file:
            write(file)
        os.link(temporary, path)  # unlike a rename this fails when the name is taken
    except FileExistsError:
        raise SavingError(f"{path} exists already and is kept; give another name for the {what}") from None
    except OSError as error:
        raise SavingError(f"{path}: the {what} could not be written: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_versioned(path: str | Path, what: str, kind: str, version: int, read: Callable[[Any], Content]) -> Content:
    """What ``read`` finds in a file of format ``kind``; ``what`` it is, for the errors.

    `ParameterError` when the file cannot be read, is of another format or of a newer version, or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            given = file.attrs.get("format")
            if given != kind:
                raise ParameterError(f"{path} holds no {what}: attribute format is {given!r}, not {kind!r}")
            if int(file.attrs["version"]) > version:
                raise ParameterError(
                    f"{path} has version {file.attrs['version']}; this program reads up to {version}: update it"
                )
            return read(file)
    except OSError as error:
        raise ParameterError(f"{path}: {what} cannot be read: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"{path}: damaged {what}: {error}") from None
