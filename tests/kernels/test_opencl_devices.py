"""Which OpenCL device is meant, and what a user reads when there is none."""

import numpy as np
import pytest
from smx_frames import radial_bins

from lima2_bliss.contract import ParameterError
from lima2_receivers.kernels import opencl_devices
from lima2_receivers.kernels.opencl_devices import (
    build_reason,
    can_compile,
    choose_device,
    device_faults,
    gpu_available,
)
from lima2_receivers.kernels.smx import make_finder
from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections


@pytest.fixture
def host(monkeypatch):
    """A host with the devices that are named, by 'platform:device'; broken ones compile nothing."""

    def has(**devices: str) -> None:
        monkeypatch.setattr(opencl_devices, "opencl_devices", lambda: devices)

    monkeypatch.setattr(opencl_devices, "is_gpu", lambda device: "GPU" in device)
    monkeypatch.setattr(opencl_devices, "can_compile", lambda device: "broken" not in device)
    monkeypatch.setattr(opencl_devices, "describe_device", str)
    gpu_available.cache_clear()
    yield has
    gpu_available.cache_clear()


def test_an_unknown_device_lists_those_that_exist(host):
    host(**{"0:0": "a GPU", "1:0": "a CPU"})
    (text,) = device_faults("7:0")
    assert "'7:0'" in text
    assert "0:0 = a GPU; 1:0 = a CPU" in text
    assert device_faults("0:0") == device_faults("") == []


@pytest.mark.parametrize(
    ("devices", "meant"),
    [
        (["a CPU", "a GPU"], "a GPU"),
        (["a broken GPU", "a CPU", "a GPU", "another GPU"], "a GPU"),
        (["a broken CPU", "a broken GPU", "a CPU"], "a CPU"),
    ],
    ids=", ".join,
)
def test_without_a_name_the_first_gpu_that_works_is_meant_else_the_first_device(host, devices, meant):
    host(**{f"{number}:0": device for number, device in enumerate(devices)})
    assert choose_device() == meant
    assert gpu_available() == ("GPU" in meant)


def test_a_device_with_a_name_is_taken_as_it_is(host):
    host(**{"0:0": "a CPU", "1:0": "a broken GPU"})
    assert choose_device("1:0") == "a broken GPU"


def test_a_host_where_nothing_compiles(host):
    host(**{"0:0": "a broken GPU"})
    assert not gpu_available()
    with pytest.raises(ParameterError, match=r"can be used \(0:0 = a broken GPU\): its driver compiles no kernel"):
        choose_device()


def test_a_host_without_opencl(host):
    host()
    assert not gpu_available()
    with pytest.raises(ParameterError, match="install the driver"):
        choose_device()


def test_why_a_device_is_left_out_is_logged_once(monkeypatch, caplog):
    cl = pytest.importorskip("pyopencl")
    devices = list(opencl_devices.opencl_devices().values())
    if not devices:
        pytest.skip("no OpenCL device on this host")

    def refused(*_) -> None:
        raise cl.RuntimeError("build failed\nerror: no such architecture")

    monkeypatch.setattr(cl, "Program", refused)
    can_compile.cache_clear()
    try:
        assert not can_compile(devices[0])
        assert not can_compile(devices[0])
    finally:
        can_compile.cache_clear()
    (message,) = caplog.messages
    assert message.endswith("is left out: error: no such architecture")


def test_auto_takes_the_cpu_where_the_gpu_fails(monkeypatch, caplog):
    def fails(*_) -> None:
        raise ParameterError("OpenCL device a GPU cannot be used: out of memory")

    monkeypatch.setattr("lima2_receivers.kernels.smx_opencl.gpu_available", lambda: True)
    monkeypatch.setattr("lima2_receivers.kernels.smx_opencl.OpenclFinder", fails)
    given = (radial_bins((20, 30), 6), PixelCorrections(), FinderSettings(), np.dtype("u2"))
    finder = make_finder(*given)
    finder.close()
    assert finder.backend == "cpu"
    assert "out of memory" in caplog.text
    with pytest.raises(ParameterError, match="out of memory"):
        make_finder(*given, backend="opencl")


def test_a_compiler_that_is_too_old_is_named():
    text = "clBuildProgram failed\n\nBuild on <device>:\n\nerror: unknown target CPU 'generic'\nDevice failed"
    assert build_reason(RuntimeError(text)) == "error: unknown target CPU 'generic' (this PoCL is older than the CPU)"
