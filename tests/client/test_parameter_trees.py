"""Parameters of the whole detector, and what each receiver gets of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.client.parameter_trees import (
    for_detector,
    for_rank,
    refuse_shared_files,
    resolve_saving,
    with_block,
    with_shared_counts,
)
from lima2_bliss.client.sources import accumulated_indices, enabled_savings
from lima2_bliss.contract import ParameterError, RoundRobin


@pytest.mark.parametrize(
    ("accumulation", "block"),
    [
        (None, 1),
        ({"enabled": False, "nb_frames": 5}, 1),
        ({"enabled": True, "nb_frames": 5}, 5),
        ({"enabled": True}, 1),
    ],
)
def test_the_control_is_told_how_many_frames_in_a_row_go_to_a_receiver(accumulation: Any, block: int) -> None:
    processing = {} if accumulation is None else {"accumulation": accumulation}
    given = {"acq": {"nb_frames": 10}, "xfer": {"block": 7, "slice": {"start": 1}}}
    assert with_block(given, processing) == given | {"xfer": {"block": block, "slice": {"start": 1}}}


def test_nonsense_is_left_for_the_devices_to_refuse() -> None:
    assert with_block({"acq": {}}, {"accumulation": {"enabled": True, "nb_frames": "many"}}) == {"acq": {}}
    assert with_block({"xfer": 3}, {}) == {"xfer": 3}


@given(st.integers(0, 10**6), st.integers(1, 16))
def test_each_receiver_has_its_share_of_a_number_of_frames(count: int, nb_receivers: int) -> None:
    tree: dict[str, Any] = {"fai": {"acc_nb_frames_xfer": count, "nb_bins": 5}, "saving_dense": {"enabled": True}}
    share = for_rank(tree, 1, nb_receivers)

    each = share["fai"]["acc_nb_frames_xfer"]
    assert (each == 0) == (count == 0)
    assert count <= each * nb_receivers < count + nb_receivers
    assert share["fai"]["nb_bins"] == 5
    assert share["saving_dense"] == {"enabled": True, "filename_rank": 1}
    assert tree["fai"]["acc_nb_frames_xfer"] == count
    whole = for_detector(share, nb_receivers)
    assert for_rank(whole, 1, nb_receivers)["fai"] == share["fai"]


@pytest.mark.parametrize("wrong", [-3, "many", None, 2.5])
def test_a_wrong_number_is_left_for_the_receivers_to_refuse(wrong: Any) -> None:
    assert for_rank({"fai": {"acc_nb_frames_reset": wrong}}, 0, 2)["fai"]["acc_nb_frames_reset"] == wrong


def test_numbers_left_out_are_those_of_the_whole_detector_too() -> None:
    completed = with_shared_counts({"class_name": "LimaProcessingSmx", "fai": {"acc_nb_frames_reset": 9}})
    assert completed["fai"] == {"acc_nb_frames_reset": 9, "acc_nb_frames_xfer": 100}
    assert with_shared_counts({"class_name": "LimaProcessingLegacy"}) == {"class_name": "LimaProcessingLegacy"}


class ResolvingReceiver:
    """Answers as a receiver whose directory has files of these prefixes."""

    def __init__(self, used: dict[str, int]) -> None:
        self.used = used

    def call(self, _command: str, text: str) -> str:
        saving = json.loads(text)["saving"]
        number = self.used.get(saving["filename_prefix"])
        suffix = "" if number is None else f"_{number + 1:04d}"
        return json.dumps(saving | {"filename_prefix": saving["filename_prefix"] + suffix})


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({}, ["frame", "sparse"]),
        ({"frame": 0}, ["frame_0001", "sparse_0001"]),
        ({"frame": 2, "sparse": 11}, ["frame_0012", "sparse_0012"]),
    ],
)
def test_appended_sections_get_the_same_number(used: dict[str, int], expected: list[str]) -> None:
    def section(prefix: str) -> dict[str, Any]:
        return {"enabled": True, "filename_prefix": prefix, "file_exists_policy": "append"}

    fixed = {"enabled": True, "filename_prefix": "fixed", "file_exists_policy": "abort"}
    tree = {"saving_dense": section("frame"), "saving_sparse": section("sparse"), "saving_fai": fixed}
    resolved = resolve_saving(tree, [ResolvingReceiver(used)])  # type: ignore[list-item]

    assert [resolved[name]["filename_prefix"] for name in ("saving_dense", "saving_sparse")] == expected
    assert resolved["saving_fai"] == fixed


def test_two_sources_must_not_share_files() -> None:
    def section(folder: str, **changed: Any) -> dict[str, Any]:
        return {"enabled": True, "base_path": folder, "filename_prefix": "run"} | changed

    refuse_shared_files({"saving_dense": section("/data"), "saving_sparse": section("/data/more")})
    refuse_shared_files({"saving_dense": section("/data"), "saving_sparse": section("/data", enabled=False)})
    with pytest.raises(ParameterError, match=r"saving_dense and saving_sparse would write the same files /data/run_\*"):
        refuse_shared_files({"saving_dense": section("/data"), "saving_sparse": section("/data/")})


def test_each_section_saves_its_source() -> None:
    on = {"enabled": True}
    tree = {"saving_dense": on, "saving_sparse": on, "saving_accumulation_peak": on, "saving": {"enabled": False}}
    assert list(enabled_savings(tree)) == ["frame", "sparse_frame", "acc_peaks"]


@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=4), every=st.integers(1, 20), ended=st.booleans())
def test_accumulated_images_are_named_by_the_last_frame_in_each(counts: list[int], every: int, ended: bool) -> None:
    dispatch = RoundRobin(len(counts))
    expected: list[int] = []
    newest = []
    for receiver, count in enumerate(counts):
        images = [local for local in range(count) if local % every == every - 1 or (ended and local == count - 1)]
        expected += [dispatch.global_index(receiver, local) for local in images]
        newest.append(dispatch.global_index(receiver, images[-1]) if images else -1)

    assert accumulated_indices(newest, dispatch, every) == sorted(expected)
