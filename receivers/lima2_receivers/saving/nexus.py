"""The NeXus tree around the frames, the same in receiver files and master files."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import bitshuffle
import h5py
import hdf5plugin
import numpy as np

from lima2_bliss.contract import FileLayout
from lima2_bliss.contract.parameters import Saving
from lima2_receivers import __version__

#: fabio finds the reader of a file by the first letters of this word.
CREATOR = "LIMA2-BLISS"

#: Keys of the metadata that go below ``params``, also as JSON text.
PARAMETERS = ("acquisition", "processing")

TEXT = h5py.string_dtype("utf-8")


def now() -> str:
    """Local time with its offset, ISO 8601."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def create_tree(
    file: h5py.File, layout: FileLayout, program: str, metadata: Mapping[str, Any], software: Mapping[str, str]
) -> h5py.Group:
    """Everything but the frames; returns the detector group. ``program`` says which part of lima2-bliss wrote it.

    `link_frames` or `sparse_layout.link_sparse` give the file its default plot.
    """
    created = now()
    file.attrs.update(
        NX_class="NXroot",
        default=layout.entry,
        creator=CREATOR,
        creator_version=__version__,
        file_time=created,
        HDF5_Version=h5py.version.hdf5_version,
        h5py_version=h5py.version.version,
    )
    entry = create_group(file, layout.entry, "NXentry")
    entry.create_dataset("program_name", data=program, dtype=TEXT).attrs["version"] = __version__
    instrument = create_group(entry, layout.instrument, "NXinstrument")
    detector = create_group(instrument, layout.detector, "NXdetector")
    detector.create_dataset("local_name", data=layout.detector, dtype=TEXT)
    create_group(entry, "measurement", "NXcollection")
    write_tree(detector, "software", {"host": platform.node(), "created": created, **software})
    rest = {key: value for key, value in metadata.items() if key not in PARAMETERS}
    parameters = dict(rest.pop("params", None) or {})
    parameters |= {key: metadata[key] for key in PARAMETERS if key in metadata}
    write_tree(detector, "params", parameters)
    for key, value in parameters.items():
        text = json.dumps(value, default=_plain, indent=1)
        detector["params"].create_dataset(f"{key}_json", data=text, dtype=TEXT)
    _write_items(detector, {key: value for key, value in rest.items() if key not in detector})
    if isinstance(detector.get("beam"), h5py.Group) and "beam" not in instrument:
        instrument["beam"] = detector["beam"]  # where NeXus readers look for the wavelength
    return detector


def link_frames(file: h5py.File, layout: FileLayout) -> None:
    """Show the frames also where plots and LImA clients look for them."""
    data = file[layout.data_path]
    data.attrs["interpretation"] = "image"
    plot = create_group(file[layout.detector_path], "plot", "NXdata")
    plot.attrs["signal"] = "data"
    plot["data"] = data
    entry = file[layout.entry]
    entry.attrs["default"] = f"{layout.instrument}/{layout.detector}/plot"
    entry["measurement/data"] = data


def data_shape(saving: Saving, nb_frames: int, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Extents of the frames' dataset: (n, h, w) for one channel unless 4D is asked for, else (n, c, h, w)."""
    if shape[0] == 1 and saving.nb_dimensions == "dim_3d_or_4d":
        return (nb_frames, *shape[1:])
    return (nb_frames, *shape)


def software_versions() -> dict[str, str]:
    """Versions of what wrote the file."""
    return {
        "lima2_bliss": __version__,
        "h5py": h5py.version.version,
        "hdf5": h5py.version.hdf5_version,
        "hdf5plugin": hdf5plugin.version,
        "bitshuffle": bitshuffle.__version__,
    }


def write_tree(parent: h5py.Group, name: str, value: Any) -> None:
    """Write a plain value below ``parent``.

    Mappings become groups, lists of one kind arrays, other lists groups of items 0, 1, ..., None an empty dataset. In
    mappings ``NAME@ATTRIBUTE`` is an attribute of item NAME, ``@NX_class`` the class of the group.
    """
    name = name.replace("/", "_").replace("\0", "") or "_"
    if isinstance(value, Mapping):
        group = create_group(parent, name, str(value.get("@NX_class", "NXcollection")))
        _write_items(group, value)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        array = _uniform(value)
        if array is None:
            write_tree(parent, name, {str(place): item for place, item in enumerate(value)})
        else:
            parent.create_dataset(name, data=array)
    elif value is None:
        parent.create_dataset(name, data=h5py.Empty("f8"))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        write_tree(parent, name, value.tolist())
    elif isinstance(value, (bool, float, np.generic, np.ndarray)) or (
        isinstance(value, int) and -(2**63) <= value < 2**63
    ):
        parent.create_dataset(name, data=value)
    else:
        parent.create_dataset(name, data=str(value).replace("\0", ""), dtype=TEXT)


def _write_items(group: h5py.Group, items: Mapping[str, Any]) -> None:
    """Members of a group, then their attributes; an attribute of what is not there is left out."""
    for key, item in items.items():
        if "@" not in str(key):
            write_tree(group, str(key), item)
    for key, item in items.items():
        owner, at, attribute = str(key).partition("@")
        if at and owner in group and isinstance(item, (str, int, float)):
            group[owner].attrs[attribute] = item


def create_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """A group with its NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _uniform(values: Sequence[Any]) -> np.ndarray | None:
    """Array of a non-empty list of numbers or of texts, else None."""
    if not values:
        return None
    for kinds in (bool, int, (int, float)):
        if all(isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool)) for value in values):
            array = np.asarray(values)
            return None if array.dtype == object else array
    if all(isinstance(value, str) for value in values):
        return np.array([value.replace("\0", "") for value in values], dtype=TEXT)
    return None


def _plain(value: Any) -> Any:
    """Numpy values for JSON text; anything else as its text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
