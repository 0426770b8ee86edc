"""Which frames of which receiver file lie where in global order."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py

from lima2_bliss.contract import FileLayout, RoundRobin

_log = logging.getLogger(__name__)

#: Frames in each receiver file that is not as long as it should be, by (receiver, number).
Lengths = Mapping[tuple[int, int], int]


@dataclass(frozen=True)
class Run:
    """Frames of one file that lie evenly in global order: ``count`` groups of ``block`` frames every ``stride`` frames.

    ``first`` is the place of the first one in its file, ``target`` its global index.
    """

    file: Path
    nb_frames_of_file: int
    first: int
    target: int
    count: int
    stride: int
    block: int


def file_runs(dispatch: RoundRobin, receiver: int, begin: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Local frames [begin, end) of a receiver as (local, global index, count, stride, block): at most three runs.

    That is a cut block, the whole blocks, a cut block; with blocks of one frame it is always one.
    """
    block = dispatch.block
    head = min(-(-begin // block) * block, end)
    tail = max(end // block * block, head)
    if begin < head:
        yield begin, dispatch.global_index(receiver, begin), 1, 1, head - begin
    if head < tail:
        first = dispatch.global_index(receiver, head)
        stride = dispatch.global_index(receiver, head + block) - first
        yield head, first, (tail - head) // block, stride, block
    if tail < end:
        yield tail, dispatch.global_index(receiver, tail), 1, 1, end - tail


def expected_files(layout: FileLayout, counts: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(receiver, number, first local frame, length) of the files that hold so many local frames of each receiver."""
    for receiver, count in enumerate(counts):
        for number in range(-(-count // layout.nb_frames_per_file)):
            first = number * layout.nb_frames_per_file
            yield receiver, number, first, min(layout.nb_frames_per_file, count - first)


def mapped_runs(layout: FileLayout, dispatch: RoundRobin, counts: list[int], lengths: Lengths) -> list[Run]:
    """Where each saved frame comes from. A file found short, or unreadable, is mapped only as far as it goes."""
    runs = []
    for receiver, number, offset, length in expected_files(layout, counts):
        actual = lengths.get((receiver, number), length)
        for local, target, groups, stride, block in file_runs(dispatch, receiver, offset, offset + min(length, actual)):
            path = layout.receiver_file(receiver, number)
            runs.append(Run(path, actual, local - offset, target, groups, stride, block))
    return runs


def lengths_of_last_files(layout: FileLayout, counts: list[int]) -> Lengths:
    """Frames in the last file of each receiver; earlier ones are full, for a file gets its name when complete."""
    lengths = {}
    for receiver, count in enumerate(counts):
        pattern = re.compile(re.escape(f"{layout.prefix}_{receiver}_") + r"(\d{5,})\.h5")
        expected = -(-count // layout.nb_frames_per_file)
        found = (pattern.fullmatch(path.name) for path in layout.base_path.iterdir())
        numbers = [int(match[1]) for match in found if match]
        last = max((number for number in numbers if number < expected), default=None)
        if last is None:
            continue
        path = layout.receiver_file(receiver, last)
        try:
            with h5py.File(path, "r", locking=False) as file:
                lengths[receiver, last] = len(file[layout.data_path])
        except (OSError, KeyError) as error:
            _log.warning("%s is not readable and is left out of the master file: %s", path, error)
            lengths[receiver, last] = 0
    return lengths


def total_frames(dispatch: RoundRobin, counts: list[int]) -> int:
    """Length of the global order that so many local frames of each receiver make."""
    last = [dispatch.global_index(receiver, count - 1) for receiver, count in enumerate(counts) if count]
    return max(last, default=-1) + 1
