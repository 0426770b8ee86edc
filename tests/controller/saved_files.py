"""Scan files as an analyst opens them: elsewhere, later, and without BLISS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - decompresses images


def stamps(file: h5py.File, path: str) -> list[int]:
    """The frame numbers that the simulator has put into the first pixel of each image."""
    return [int(number) for number in file[path][:, 0, 0]]


def broken_links(group: h5py.Group, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Links below a group that lead nowhere, over the borders of files too."""
    for name in group:
        link = group.get(name, getlink=True)
        try:
            member = group[name]
        except KeyError:
            yield f"{group.name}/{name}: {vars(link)}"
            continue
        place = f"{member.file.filename}::{member.name}"
        if isinstance(member, h5py.Group) and place not in seen:
            yield from broken_links(member, seen | {place})


def far_names(group: h5py.Group) -> Iterator[str]:
    """Names of other files in the links and virtual datasets of a group."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield link.filename
        elif isinstance(member := group[name], h5py.Group) and not isinstance(link, h5py.SoftLink):
            yield from far_names(member)
        elif isinstance(member, h5py.Dataset) and member.is_virtual:
            yield from (source.file_name for source in member.virtual_sources())


def all_files(directory: Path) -> list[str]:
    """Paths of all files below a directory, relative to it."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
