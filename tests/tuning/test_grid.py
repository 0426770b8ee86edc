"""A grid names parameters as users know them, and whatever is wrong with it is said before anything runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import SmxParameters
from lima2_receivers.tuning import parameter_names, parse_assignments
from lima2_receivers.tuning.grid import MAX_SETTINGS, full_name, make_settings

DEFAULTS = SmxParameters()


@pytest.mark.parametrize("name", ["cutoff_peak", "peaks.cutoff_peak"])
def test_a_parameter_is_known_by_its_full_name_and_by_its_last_part(name):
    assert full_name(name) == "peaks.cutoff_peak"


def test_every_last_part_is_unique():
    names = list(parameter_names())
    assert [full_name(name.rpartition(".")[2]) for name in names] == names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cutof_peak", "did you mean cutoff_peak"),
        ("saving_dense.enabled", "allowed: poni_path, nb_bins"),
        ("acc_nb_frames_xfer", "is no parameter that can be tuned"),
        ("", "allowed:"),
    ],
)
def test_an_unknown_name_is_answered_with_those_allowed(name, said):
    with pytest.raises(ParameterError, match=said) as refused:
        full_name(name)
    assert "min_spots" in refused.value.what


def test_texts_become_values_of_the_parameters_type():
    grid = parse_assignments(
        ["cutoff_peak=3,4.5", "error_model=poisson, azimuthal", "do_dummy=true", "device=0", "patch_size=3"]
    )
    assert grid == {
        "peaks.cutoff_peak": [3, 4.5],
        "fai.error_model": ["poisson", "azimuthal"],
        "fai.do_dummy": [True],
        "compute.device": ["0"],
        "peaks.patch_size": [3],
    }
    assert len(make_settings(DEFAULTS, grid)) == 4


def test_a_name_that_comes_twice_has_the_values_of_both():
    assert parse_assignments(["noise=0.5", "fai.noise=1"]) == {"fai.noise": [0.5, 1]}


def test_a_text_without_values_is_refused():
    with pytest.raises(ParameterError, match="NAME=VALUE"):
        parse_assignments(["cutoff_peak"])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_all_combinations_come_once_with_the_last_name_fastest(cutoffs, connected):
    settings = make_settings(DEFAULTS, {"cutoff_peak": cutoffs, "connected": connected})
    expected = [(a, b) for a in dict.fromkeys(cutoffs) for b in dict.fromkeys(connected)]
    assert [tuple(setting.values.values()) for setting in settings] == expected
    assert [(s.processing.peaks.cutoff_peak, s.processing.peaks.connected) for s in settings] == expected
    assert all(setting.processing.fai == DEFAULTS.fai for setting in settings)


def test_without_values_the_parameters_themselves_are_tried():
    (setting,) = make_settings(DEFAULTS, {})
    assert setting.values == {}
    assert setting.processing == DEFAULTS


def test_a_single_value_needs_no_list():
    settings = make_settings(DEFAULTS, {"error_model": "azimuthal", "noise": 1})
    assert [setting.values for setting in settings] == [{"fai.error_model": "azimuthal", "fai.noise": 1.0}]


def test_too_many_combinations_are_refused_with_their_number():
    assert len(make_settings(DEFAULTS, {"cutoff_peak": range(1, 21), "min_spots": range(1, 11)})) == MAX_SETTINGS
    with pytest.raises(ParameterError, match=r"201 settings \(67 peaks.cutoff_peak x 3 peaks.min_spots\)"):
        make_settings(DEFAULTS, {"cutoff_peak": range(1, 68), "min_spots": [1, 2, 3]})


def test_one_error_names_every_bad_value():
    with pytest.raises(ParameterError) as refused:
        make_settings(DEFAULTS, {"cutoff_peak": [3, -1], "patch_size": [5, 4], "noise": ["low"]})
    for said in ("peaks.cutoff_peak = -1", "peaks.patch_size = 4", "3, 5 or 7", "fai.noise = 'low'"):
        assert said in refused.value.what


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"patch_size": [3, 5], "connected": [3, 10]}, "connected = 10: a patch of peaks.patch_size = 3"),
        ({"radius_min": [1, 5], "radius_max": [3]}, "radius_max = 3.0 must be larger"),
        ({"cutoff_peak": [3], "peaks.cutoff_peak": [4]}, "given twice"),
        ({"cutoff_peak": []}, "no value given"),
    ],
)
def test_values_that_contradict_each_other_are_refused(grid, said):
    with pytest.raises(ParameterError, match=said):
        make_settings(DEFAULTS, grid)
