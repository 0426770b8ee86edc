"""One mask for both pipelines, looked at before it is accepted."""

from __future__ import annotations

import numpy as np
import pytest
from detector_views import described, sections

from lima2_bliss.contract import ConnectionLostError, ParameterError
from lima2_bliss.contract.overview import MapDescription
from lima2_bliss.controller.mask import Mask

GOOD = MapDescription(shape=(20, 30), dtype="uint8", nonzero=12, size=600)
FILES = {"/m.npy": GOOD, "/m.h5::/a/mask": GOOD, "/other.npy": GOOD.model_copy(update={"shape": (30, 20)})}


def mask(pipeline="legacy", shape=(20, 30), describe=None):
    processing, smx = sections(pipeline)
    return Mask("det.mask", processing, smx, describe or described(FILES), lambda: shape), processing, smx


@pytest.mark.parametrize("pipeline", ["legacy", "smx"])
@pytest.mark.parametrize("path", ["/m.npy", "/m.h5::/a/mask"])
def test_a_mask_is_for_both_pipelines(pipeline, path):
    own, processing, smx = mask(pipeline)
    own.set(path)
    assert (own.file, processing.mask, smx.mask) == (path, path, path)
    assert (own.shape, own.masked_fraction) == ((20, 30), 0.02)
    own.clear()
    assert (own.file, processing.mask, smx.mask) == (None, None, None)
    assert own.shape is None


def test_the_old_names_still_work_each_for_its_own_pipeline():
    own, processing, smx = mask()
    processing.mask, smx.mask = "/m.npy", "/other.npy"
    assert own.file == "/m.npy"
    processing.pipeline = "smx"
    assert own.file == "/other.npy"
    assert "The pipelines have different masks" in own.__info__()
    assert "30 x 20 (width x height)" in own.__info__()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("/other.npy", "has 20 x 30 pixels, but the detector has 30 x 20"),
        ("/none.npy", "there is no file /none.npy"),
        (np.zeros((20, 30)), "save an array with numpy.save"),
        ("", "is a file"),
    ],
)
def test_what_does_not_fit_is_refused_at_once_and_changes_nothing(given, words):
    own, processing, smx = mask()
    own.set("/m.npy")
    with pytest.raises(ParameterError, match=words.replace("(", r"\(")):
        own.set(given)
    assert (processing.mask, smx.mask) == ("/m.npy", "/m.npy")


def test_a_mask_that_no_receiver_can_look_at_is_refused():
    def silent(path):
        raise ConnectionLostError("id00/limareceiver/one is not running; start its server")

    own, processing, _ = mask(describe=silent)
    with pytest.raises(ConnectionLostError, match=r"cannot be checked, nothing was changed: .*is not running"):
        own.set("/m.npy")
    processing.mask = "/m.npy"
    assert "is not running" in own.__info__()


def test_typing_it_shows_size_and_masked_pixels():
    own, _, _ = mask(shape=None)
    assert "none; set one with" in own.__info__()
    own.set("/m.npy")
    text = own.__info__()
    assert "30 x 20 pixels (width x height), uint8" in text
    assert "12 pixels, 2.00%" in text
    assert {"set", "clear", "shape"} <= set(dir(own))
