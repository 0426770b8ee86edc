"""The groups of sparse frames and of spots, the same in receiver files and masters.

Names, types and attributes are those that fabio, pyFAI (``densify_Bragg``) and CrystFEL look for: unsigned places,
float32 radii and background, ``dataformat`` and ``pyFAI_sparse_frames`` to find the reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import FileLayout, SparseInfo
from lima2_receivers import __version__
from lima2_receivers.saving.appended_rows import rows_of_chunk
from lima2_receivers.saving.compression import Codec
from lima2_receivers.saving.nexus import TEXT, create_group, now
from lima2_receivers.saving.spot_table import COUNTS

INDEX_DTYPE = np.dtype("u4")
BACKGROUND_DTYPE = np.dtype("f4")
POINTER_DTYPE = np.dtype("i8")
#: Datasets with one row of bins for each frame.
BACKGROUND = ("background_avg", "background_std")
#: Background of a frame that is not there.
NO_BACKGROUND = float("nan")
#: Datasets that are the same for all frames; a file without normalization has 1 everywhere.
STATIC = ("radius", "mask", "dummy", "normalization")


def create_groups(file: h5py.File, layout: FileLayout) -> None:
    """The two groups, without content."""
    create_group(file, layout.sparse_path, "NXdata")
    create_group(file, layout.peaks_path, "NXdata")


def write_static(file: h5py.File, layout: FileLayout, info: SparseInfo, codec: Codec) -> None:
    """What all frames have in common."""
    group = file[layout.sparse_path]
    images = {"mask": info.mask, "normalization": info.normalization}
    for name, image in images.items():
        if image is not None:
            chunks = (rows_of_chunk(4 * image.shape[1], image.shape[0]), image.shape[1])
            dataset = group.create_dataset(
                name, data=np.asarray(image, BACKGROUND_DTYPE), chunks=chunks, **codec.options
            )
            dataset.attrs["interpretation"] = "image"
    radius = group.create_dataset("radius", data=np.asarray(info.radius, BACKGROUND_DTYPE))
    radius.attrs["interpretation"] = "spectrum"
    for dataset in (radius, group["mask"]):
        dataset.attrs.update(unit=info.unit, long_name=f"radius ({info.unit})")
    group.create_dataset("dummy", data=np.array(info.dummy, info.dtype))


def write_process(file: h5py.File, layout: FileLayout, metadata: Mapping[str, Any]) -> None:
    """NXprocess ``sparsify``: who picked the pixels, with which parameters (and geometry, if the metadata has it)."""
    process = create_group(file, f"/{layout.entry}/sparsify", "NXprocess")
    for name, text in {"program": "lima2-bliss", "version": __version__, "date": now()}.items():
        process.create_dataset(name, data=text, dtype=TEXT)
    note = create_group(process, "configuration", "NXnote")
    note.create_dataset("type", data="text/json", dtype=TEXT)
    content = {"geometry": metadata.get("geometry", {}), "sparsify": metadata.get("processing", {})}
    note.create_dataset("data", data=json.dumps(content, default=str, indent=1), dtype=TEXT)


def link_sparse(file: h5py.File, layout: FileLayout) -> None:
    """Attributes and links by which programs find the sparse frames; all datasets but the counts must be there."""
    entry, group, peaks = file[layout.entry], file[layout.sparse_path], file[layout.peaks_path]
    entry.attrs.update(default=layout.sparse_path.rsplit("/", 1)[1], pyFAI_sparse_frames=layout.sparse_path)
    group.attrs.update(dataformat="sparsify-Bragg", signal="background_avg", axes=[".", "radius"])
    for name, title in zip(BACKGROUND, ("mean of the background", "deviation of the background"), strict=True):
        group[name].attrs.update(interpretation="spectrum", long_name=title)
    group["errors"] = group["background_std"]
    peaks.attrs.update(signal=COUNTS, pixel_origin="pixel centres are at integers, x is the fast axis")
