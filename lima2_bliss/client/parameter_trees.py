"""Parameters of the whole detector, and as each receiver gets them."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from lima2_bliss.client.tango_link import DeviceLink
from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import SmxParameters

Tree = dict[str, Any]

#: Numbers of frames of the whole detector (section, key), of which each receiver takes its share.
SHARED_COUNTS = (("fai", "acc_nb_frames_reset"), ("fai", "acc_nb_frames_xfer"))


def saving_sections(tree: Mapping[str, Any]) -> list[str]:
    """Names of the sections that say where and how a frame source is saved."""
    return [key for key, value in tree.items() if key.startswith("saving") and isinstance(value, dict)]


def with_shared_counts(processing: Tree) -> Tree:
    """The parameters with the `SHARED_COUNTS` that are left out: their defaults, too, are of the whole detector."""
    defaults = SmxParameters()
    if processing.get("class_name") != defaults.class_name:
        return processing
    completed = dict(processing)
    for section, key in SHARED_COUNTS:
        given = completed.get(section, {})
        if isinstance(given, dict):
            completed[section] = {key: getattr(getattr(defaults, section), key)} | given
    return completed


def with_block(acquisition: Tree, processing: Tree) -> Tree:
    """The acquisition parameters with the number of frames in a row to one receiver: those of one accumulation."""
    accumulation, transfer = processing.get("accumulation"), acquisition.get("xfer", {})
    depth = accumulation.get("nb_frames", 1) if isinstance(accumulation, dict) and accumulation.get("enabled") else 1
    if not isinstance(transfer, dict) or not isinstance(depth, int) or depth < 1:
        return acquisition  # refused later
    return acquisition | {"xfer": transfer | {"block": depth}}


def for_rank(tree: Tree, rank: int, nb_receivers: int = 1) -> Tree:
    """The parameters as receiver ``rank`` of ``nb_receivers`` gets them.

    Its files carry its rank; of the frames after which something is done it has its share, rounded up.
    """
    sections = {section: tree[section] | {"filename_rank": rank} for section in saving_sections(tree)}
    return _with_counts(tree | sections, lambda count: -(-count // nb_receivers))


def for_detector(tree: Tree, nb_receivers: int) -> Tree:
    """The parameters of the whole detector, from those of its receiver 0. Numbers rounded up by `for_rank` stay so."""
    return _with_counts(tree, lambda count: count * nb_receivers)


def _with_counts(tree: Tree, change: Any) -> Tree:
    changed = dict(tree)
    for section, key in SHARED_COUNTS:
        values = changed.get(section)
        count = values.get(key) if isinstance(values, dict) else None
        if isinstance(count, int | float) and count > 0 and count == int(count):  # anything else is refused later
            changed[section] = changed[section] | {key: change(int(count))}
    return changed


def resolve_saving(processing: Tree, receivers: Sequence[DeviceLink]) -> Tree:
    """The parameters with the file prefixes that ``append`` leads to, the same for all receivers and masters.

    All sections that are appended to get the same number, so that the files of an acquisition are found together.
    """
    resolved = deepcopy(processing)
    appended = [
        section
        for section in saving_sections(processing)
        if processing[section].get("enabled") and processing[section].get("file_exists_policy") == "append"
    ]
    for section in appended:
        question = {"saving": processing[section], "ranks": list(range(len(receivers)))}
        resolved[section] = json.loads(receivers[0].call("resolveSaving", json.dumps(question)))
    _number_alike([resolved[section] for section in appended], [processing[section] for section in appended])
    return resolved


def _number_alike(resolved: Sequence[Tree], given: Sequence[Tree]) -> None:
    """Give all prefixes the highest number that one of them was given, if any was."""
    numbers = []
    for found, asked in zip(resolved, given, strict=True):
        added = re.fullmatch(r"_(\d{4,})", found["filename_prefix"].removeprefix(asked.get("filename_prefix", "")))
        numbers.append(int(added[1]) if added else 0)
    highest = max(numbers, default=0)
    for found, number in zip(resolved, numbers, strict=True):
        if number < highest:
            prefix = found["filename_prefix"].removesuffix(f"_{number:04d}") if number else found["filename_prefix"]
            found["filename_prefix"] = f"{prefix}_{highest:04d}"


def refuse_shared_files(processing: Tree) -> None:
    """`ParameterError` when two frame sources would write the same files."""
    places: dict[tuple[str, str], str] = {}
    for section in saving_sections(processing):
        saving = processing[section]
        if not saving.get("enabled"):
            continue
        directory = os.path.normpath(saving.get("base_path", "/tmp"))
        place = (directory, saving.get("filename_prefix", "lima2"))
        if place in places:
            raise ParameterError(
                f"{places[place]} and {section} would write the same files {directory}/{place[1]}_*; "
                "give one of them another filename_prefix or base_path"
            )
        places[place] = section
