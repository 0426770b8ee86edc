"""Acquisition parameters as settings of slsdet. ``sls`` is the package, ``detector`` its `Jungfrau`, connected."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from lima2_bliss.contract import AcquisitionError, ConnectionLostError, ParameterError
from lima2_receivers.detectors.jungfrau.backend import Destination
from lima2_receivers.detectors.jungfrau.hardware_addresses import mac_of
from lima2_receivers.detectors.jungfrau.packets import MODULE_COLUMNS, MODULE_ROWS
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters, JungfrauSettings
from lima2_receivers.detectors.jungfrau.wire.layout import resolve

#: Frames or triggers of an acquisition without end.
ENDLESS = 1 << 40
#: Port of the server on a module, and how long a module may take to answer [s].
CONTROL_PORT = 1952
CONNECT_S = 1.0
#: Storage cells of chips 1.0 and 1.1; the parameters' default is the last one of a chip.
CELLS, CELLS_1_1 = 16, 4
DEFAULT_CELL = CELLS - 1


def connect(sls: Any, properties: Mapping[str, str]) -> Any:
    """The detector that the device properties name, as `SlsDetector` describes them."""
    number = int(properties.get("slsdet_id", "").strip() or 0)
    config = properties.get("slsdet_config", "").strip()
    if config:
        detector = sls.Jungfrau(number)
        detector.loadConfig(config)
    else:
        hosts = properties["slsdet_hosts"].replace(",", " ").replace("+", " ").split()
        columns = int(properties.get("module_columns", "").strip() or 1)
        rows = int(properties.get("module_rows", "").strip() or -(-len(hosts) // columns))
        if rows * columns != len(hosts):
            raise ParameterError(
                f"property slsdet_hosts names {len(hosts)} modules, module_rows and module_columns are {rows} and "
                f"{columns}; make them agree"
            )
        for host in hosts:
            _require_reachable(host)
        sls.freeSharedMemory(number)  # what an earlier process left: the grid must come before the host names
        detector = sls.Jungfrau(number)
        detector.detsize = [columns * MODULE_COLUMNS, rows * MODULE_ROWS]
        detector.setHostname(hosts)
    more = [line.strip() for line in properties.get("slsdet_parameters", "").splitlines() if line.strip()]
    if more:
        detector.loadParameters(more)
    return detector


def _require_reachable(host: str) -> None:
    """`ConnectionLostError` soon, where slsdet would wait for minutes for a module that is off."""
    name, _, port = host.partition(":")
    try:
        socket.create_connection((name, int(port or CONTROL_PORT)), CONNECT_S).close()
    except OSError as error:
        raise ConnectionLostError(
            f"module {host} does not answer ({error}); check that it has power and that its server runs"
        ) from None


def check_modules(detector: Any, det: JungfrauSettings) -> None:
    """`ParameterError` when the detector has other modules than the parameters say."""
    grid = detector.module_geometry
    geometry = det.geometry
    if (grid.x, grid.y) != (geometry.module_columns, geometry.module_rows):
        raise ParameterError(
            f"the detector has {grid.x} columns of {grid.y} modules, det.geometry {geometry.module_columns} of "
            f"{geometry.module_rows}; set det.geometry, or the properties module_columns and module_rows (detsize in a "
            "slsdet_config) and restart the control"
        )
    present = each(detector.getModuleId())
    if det.module_ids and det.module_ids != present:
        raise ParameterError(
            f"the modules have the ids {present}, det.module_ids are {det.module_ids}; look at the order of the hosts"
        )


def set_readout(sls: Any, detector: Any, det: JungfrauSettings) -> None:
    """Interfaces, gain, speed and storage cell."""
    detector.numinterfaces = det.interfaces
    if det.interfaces == 2:
        detector.fliprows = False  # the other half of a module is not turned in the image
    detector.settings = sls.detectorSettings.HIGHGAIN0 if det.high_gain else sls.detectorSettings.GAIN0
    detector.gainmode = {
        "dynamic": sls.gainMode.DYNAMIC,
        "forceswitchg1": sls.gainMode.FORCE_SWITCH_G1,
        "forceswitchg2": sls.gainMode.FORCE_SWITCH_G2,
        "fixg1": sls.gainMode.FIX_G1,
        "fixg2": sls.gainMode.FIX_G2,
    }[det.gain_mode]
    detector.readoutspeed = getattr(sls.speedLevel, det.speed.upper())
    cells = CELLS_1_1 if min(detector.getChipVersion()) >= 1.1 else CELLS
    cell = cells - 1 if det.storage_cell == DEFAULT_CELL else det.storage_cell
    if cell >= cells:
        raise ParameterError(f"det.storage_cell = {cell}: the chips of this detector have {cells}, from 0")
    detector.storagecell_start = cell


def set_timing(sls: Any, detector: Any, parameters: JungfrauParameters) -> None:
    """Exposure, period, triggers, and how many frames."""
    acq, modes = parameters.acq, sls.timingMode
    detector.exptime = acq.expo_time * 1e-6
    detector.period = (acq.expo_time + acq.latency_time) * 1e-6
    if acq.trigger_mode == "internal":
        detector.timing = modes.AUTO_TIMING
        detector.triggers, detector.frames = 1, acq.nb_frames or ENDLESS
    else:
        detector.timing = modes.TRIGGER_EXPOSURE
        detector.frames = acq.nb_frames_per_trigger
        detector.triggers = acq.nb_frames // acq.nb_frames_per_trigger or ENDLESS


def set_destinations(detector: Any, lines: Sequence[str], entries: int) -> None:
    """The table of destinations of all modules, from its first entry on; ``lines`` are those of `destination_lines`."""
    detector.clearUDPDestinations()
    detector.loadParameters(list(lines))
    detector.setFirstUDPDestination(0)
    wrong = [number for number in detector.getNumberofUDPDestinations() if number != entries]
    if wrong:
        raise AcquisitionError(f"modules have {wrong} destinations after {entries} were set")
    detector.validateUDPConfiguration()


def destination_lines(destinations: Sequence[Destination], interfaces: int, macs: Mapping[str, str]) -> list[str]:
    """The slsdet commands that set the destinations of every module. ``macs``: by IPv4 address, where known."""
    hosts = {host for addresses in destinations for host, _ in addresses}
    found = {host: resolve((host, 1))[0] for host in hosts}
    ethernet = {address: mac_of(address, macs) for address in set(found.values())}
    lines = []
    for entry, addresses in enumerate(destinations):
        for module in range(len(addresses) // interfaces):
            words = []
            for half in range(interfaces):
                host, port = addresses[module * interfaces + half]
                mark, address = "2" if half else "", found[host]
                words += [f"ip{mark}={address}", f"mac{mark}={ethernet[address]}", f"port{mark}={port}"]
            lines.append(f"{module}:{entry} udp_dstlist {' '.join(words)}")
    return lines


def each(values: Any) -> list[Any]:
    """What slsdet gives as one value when all modules agree, else as a list."""
    return list(values) if isinstance(values, list | tuple) else [values]
