"""Which OpenCL device is meant, and what a user reads when there is none."""

import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.kernels import opencl_devices
from lima2_receivers.kernels.opencl_devices import build_reason, choose_device, device_faults, gpu_available


def test_an_unknown_device_lists_those_that_exist():
    if not opencl_devices.opencl_devices():
        pytest.skip("no OpenCL device on this host")
    (text,) = device_faults("7:0")
    assert "'7:0'" in text
    assert "0:0 = " in text
    assert device_faults("0:0") == device_faults("") == []


def test_a_host_without_opencl(monkeypatch):
    monkeypatch.setattr(opencl_devices, "opencl_devices", dict)
    gpu_available.cache_clear()
    assert not gpu_available()
    gpu_available.cache_clear()
    with pytest.raises(ParameterError, match="install the driver"):
        choose_device()


def test_a_compiler_that_is_too_old_is_named():
    text = "clBuildProgram failed\n\nBuild on <device>:\n\nerror: unknown target CPU 'generic'\nDevice failed"
    assert build_reason(RuntimeError(text)) == "error: unknown target CPU 'generic' (this PoCL is older than the CPU)"
