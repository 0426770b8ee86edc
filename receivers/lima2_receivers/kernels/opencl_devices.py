"""OpenCL devices of this host: which there are, and which one is meant."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lima2_bliss.contract import ParameterError

if TYPE_CHECKING:
    import pyopencl

NO_DEVICE = (
    "OpenCL finds no device on this host: install the driver of the GPU (or PoCL for the CPU: pip install "
    "'pyopencl[pocl]'), or take another backend"
)


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
    """Whether OpenCL lists a GPU; asked once per process."""
    return any(is_gpu(device) for device in opencl_devices().values())


def is_gpu(device: pyopencl.Device) -> bool:
    """Whether a device is a GPU."""
    import pyopencl

    return bool(device.type & pyopencl.device_type.GPU)


def choose_device(name: str = "") -> pyopencl.Device:
    """The device 'platform:device', or for '' the first GPU, else the first of all; `ParameterError` lists them."""
    devices = opencl_devices()
    if not devices:
        raise ParameterError(NO_DEVICE)
    if not name:
        return next((device for device in devices.values() if is_gpu(device)), next(iter(devices.values())))
    if name not in devices:
        known = "; ".join(f"{key} = {describe_device(device)}" for key, device in devices.items())
        raise ParameterError(f"compute.device = {name!r}: there is no such OpenCL device; on this host: {known}")
    return devices[name]


def describe_device(device: pyopencl.Device) -> str:
    """Name and platform."""
    return f"{device.name.strip()} ({device.platform.name.strip()})"


def device_faults(name: str = "") -> list[str]:
    """What is wrong with a device name, as texts; empty when there is such a device."""
    try:
        choose_device(name)
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
