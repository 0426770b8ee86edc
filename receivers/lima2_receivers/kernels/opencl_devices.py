"""OpenCL devices of this host: which there are, and which one is meant."""

from __future__ import annotations

import logging
import warnings
from functools import cache
from typing import TYPE_CHECKING

from lima2_bliss.contract import ParameterError

if TYPE_CHECKING:
    import pyopencl

logger = logging.getLogger(__name__)

NO_DEVICE = (
    "OpenCL finds no device on this host: install the driver of the GPU (or PoCL for the CPU: pip install "
    "'pyopencl[pocl]'), or take another backend"
)
NO_COMPILER = "its driver compiles no kernel, and the log says why; repair the driver, or take another backend"

SMALLEST_KERNEL = "kernel void smallest(global int *number) { number[0] = 0; }"


def opencl_devices() -> dict[str, pyopencl.Device]:
    """All devices by 'platform:device'; empty where there is no OpenCL."""
    try:
        import pyopencl

        platforms = pyopencl.get_platforms()
    except Exception:  # noqa: BLE001  not installed, no driver, a broken driver: all mean that there is none
        return {}
    found: dict[str, pyopencl.Device] = {}
    for number, platform in enumerate(platforms):
        try:
            devices = platform.get_devices()
        except pyopencl.Error:  # a platform without devices
            continue
        found |= {f"{number}:{place}": device for place, device in enumerate(devices)}
    return found


@cache
def gpu_available() -> bool:
    """Whether OpenCL has a GPU that it can compile for; asked once per process."""
    return any(is_gpu(device) and can_compile(device) for device in opencl_devices().values())


@cache
def can_compile(device: pyopencl.Device) -> bool:
    """Whether the smallest of kernels can be built for a device; if not, the log says why, once per process."""
    import pyopencl

    try:
        with warnings.catch_warnings():  # of compilers that are never silent
            warnings.simplefilter("ignore", pyopencl.CompilerWarning)
            pyopencl.Program(pyopencl.Context([device]), SMALLEST_KERNEL).build()
    except pyopencl.Error as error:
        logger.warning("OpenCL device %s is left out: %s", describe_device(device), build_reason(error))
        return False
    return True


def is_gpu(device: pyopencl.Device) -> bool:
    """Whether a device is a GPU."""
    import pyopencl

    return bool(device.type & pyopencl.device_type.GPU)


def choose_device(name: str = "", parameter: str = "compute.device") -> pyopencl.Device:
    """The device 'platform:device'; for '' the first GPU that compiles, else the first of all that does.

    `ParameterError` lists the devices where there is none of that name, or says that none can be used.
    """
    devices = opencl_devices()
    if not devices:
        raise ParameterError(NO_DEVICE)
    if not name:
        for device in sorted(devices.values(), key=is_gpu, reverse=True):
            if can_compile(device):
                return device
        raise ParameterError(f"no OpenCL device of this host can be used ({_listed(devices)}): {NO_COMPILER}")
    if name not in devices:
        raise ParameterError(
            f"{parameter} = {name!r}: there is no such OpenCL device; on this host: {_listed(devices)}"
        )
    return devices[name]


def _listed(devices: dict[str, pyopencl.Device]) -> str:
    return "; ".join(f"{key} = {describe_device(device)}" for key, device in devices.items())


def describe_device(device: pyopencl.Device) -> str:
    """Name and platform."""
    return f"{device.name.strip()} ({device.platform.name.strip()})"


def device_faults(name: str = "", parameter: str = "compute.device") -> list[str]:
    """What is wrong with a device name (the value of ``parameter``), as texts; empty when there is such a device."""
    try:
        choose_device(name, parameter)
    except ParameterError as error:
        return [error.what]
    return []


def opencl_errors() -> tuple[type[Exception], ...]:
    """What OpenCL raises."""
    import pyopencl

    return (pyopencl.Error,)


def build_reason(error: Exception) -> str:
    """The line of a compiler's output that says what is wrong, else the first line."""
    lines = str(error).splitlines() or [type(error).__name__]
    reason = next((line.strip() for line in lines if "error:" in line), lines[0])
    if "unknown target CPU" in reason:
        return f"{reason} (this PoCL is older than the CPU)"
    return reason
