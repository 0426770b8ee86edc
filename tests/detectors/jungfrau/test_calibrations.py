"""Calibrations are read beside the commands, once, and kept."""

from __future__ import annotations

import threading

import pytest

from lima2_bliss.contract import NotReadyError, ParameterError
from lima2_receivers.detectors.jungfrau import calibrations


def test_who_asks_while_a_calibration_is_read_is_told_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrations, "READING_S", 0.05)
    key = (("/data/slow.h5", 0, 0), 12.4)
    begun, go = threading.Semaphore(0), threading.Event()
    ready = object()

    def load() -> object:
        begun.release()
        assert go.wait(10)
        return ready

    with pytest.raises(NotReadyError, match=r"/data/slow\.h5 is being read; prepare again"):
        calibrations._in_memory(key, load)  # type: ignore[arg-type]
    go.set()
    monkeypatch.setattr(calibrations, "READING_S", 10.0)
    assert calibrations._in_memory(key, load) is ready  # type: ignore[arg-type]
    assert begun.acquire(blocking=False)
    assert not begun.acquire(blocking=False)  # read once
    calibrations._kept.pop(key)


def test_a_file_that_was_refused_is_read_anew_the_next_time() -> None:
    key = (("/data/changed.h5", 0, 0), 12.4)
    texts = iter(["damaged", "damaged again"])

    def load() -> calibrations.ReadyCalibration:
        raise ParameterError(next(texts))

    for text in ("damaged$", "damaged again"):
        with pytest.raises(ParameterError, match=text):
            calibrations._in_memory(key, load)
