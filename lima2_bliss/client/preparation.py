"""Getting an acquisition ready on all devices of a detector: check, repair, validate, prepare, attach."""

from __future__ import annotations

import json
import logging
import time
import uuid as uuids
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lima2_bliss.client.errors_by_device import (
    failures,
    raise_failures,
    raise_refusals,
    raise_unreachable,
    without_name,
)
from lima2_bliss.client.parameter_trees import Tree, for_rank
from lima2_bliss.client.tango_link import DeviceLink, on_each
from lima2_bliss.contract import NO_ERROR, AcqState, StateError, error_from_json
from lima2_bliss.contract.states import state_from_tango

logger = logging.getLogger(__name__)

#: A receiver that has all frames of an acquisition is RUNNING for a moment more [s].
SETTLE_S = 0.5
_SETTLE_POLL_S = 0.005

CONTROL_ATTRIBUTES = ("State", "last_error", "finished")
RECEIVER_ATTRIBUTES = (
    "State",
    "last_error",
    "access_endpoint",
    "pid",
    "pipelines",
    "pipeline_states",
    "rank",
    "nb_receivers",
)


@dataclass(frozen=True)
class ControlSnapshot:
    """What control says of itself."""

    state: AcqState
    last_error: str
    finished: bool


@dataclass(frozen=True)
class ReceiverSnapshot:
    """What a receiver says of itself. ``erasable`` are uuids of ended acquisitions, oldest first."""

    state: AcqState
    last_error: str
    endpoint: str
    pid: int
    pipelines: tuple[str, ...]
    erasable: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """All devices of a detector at one moment, receivers in rank order."""

    control: ControlSnapshot
    receivers: tuple[ReceiverSnapshot, ...]


def look(control: DeviceLink, receivers: Sequence[DeviceLink], access: DeviceLink | None) -> Snapshot:
    """The state of all devices; one `ConnectionLostError` lists all that do not answer."""
    asked = {control.name: CONTROL_ATTRIBUTES} | {device.name: RECEIVER_ATTRIBUTES for device in receivers}
    devices = [control, *receivers] if access is None else [control, *receivers, access]
    outcomes = on_each(devices, lambda device: device.read_here(*asked.get(device.name, ("State",))))
    raise_unreachable(failures(outcomes), len(outcomes))
    state, error, finished = outcomes[control.name].get()
    found = []
    for place, device in enumerate(receivers):
        values = outcomes[device.name].get()
        rank, nb_receivers = int(values[6]), int(values[7])
        if (rank, nb_receivers) != (place, len(receivers)):
            raise StateError(
                f"{device.name} is receiver {rank} of {nb_receivers} in its own configuration, but receiver {place} of "
                f"{len(receivers)} here; make the `receivers` list and the properties `rank`, `nb_receivers` agree"
            )
        pipelines, states = tuple(values[4]), tuple(values[5])
        ended = tuple(u for u, s in zip(pipelines, states, strict=False) if s in ("finished", "failed"))
        found.append(
            ReceiverSnapshot(
                state_from_tango(str(values[0])), str(values[1]), str(values[2]), int(values[3]), pipelines, ended
            )
        )
    return Snapshot(ControlSnapshot(state_from_tango(str(state)), str(error), bool(finished)), tuple(found))


def settled(snapshot: Snapshot, receivers: Sequence[DeviceLink]) -> Snapshot:
    """The snapshot once no receiver is RUNNING any more because it has just received its last frame.

    When control has ended the acquisition, that takes a moment; who is RUNNING after `SETTLE_S` has been left behind.
    """
    deadline = time.monotonic() + SETTLE_S
    ended = snapshot.control.state in (AcqState.IDLE, AcqState.PREPARED)
    while ended and (busy := _running(snapshot)) and AcqState.FAULT not in {r.state for r in snapshot.receivers}:
        if time.monotonic() > deadline:
            break
        time.sleep(_SETTLE_POLL_S)  # under gevent this is gevent's
        devices = [receivers[rank] for rank in busy]
        outcomes = on_each(devices, lambda device: device.read_here("State"))
        raise_unreachable(failures(outcomes), len(outcomes))
        states = {rank: state_from_tango(str(outcomes[receivers[rank].name].get()[0])) for rank in busy}
        now = tuple(replace(r, state=states.get(rank, r.state)) for rank, r in enumerate(snapshot.receivers))
        snapshot = replace(snapshot, receivers=now)
    return snapshot


def _running(snapshot: Snapshot) -> list[int]:
    return [rank for rank, each in enumerate(snapshot.receivers) if each.state is AcqState.RUNNING]


def repair(
    snapshot: Snapshot, control: DeviceLink, receivers: Sequence[DeviceLink], *, force: bool = False
) -> list[str]:
    """Reset what a failed or abandoned acquisition left behind; sentences that say what was done.

    Raises `StateError` while an acquisition is under way, unless ``force``.
    """
    ready = (AcqState.IDLE, AcqState.PREPARED)
    states = {control.name: snapshot.control.state}
    states |= {device.name: each.state for device, each in zip(receivers, snapshot.receivers, strict=True)}
    errors = {control.name: snapshot.control.last_error}
    errors |= {device.name: each.last_error for device, each in zip(receivers, snapshot.receivers, strict=True)}
    failed = AcqState.FAULT in states.values()
    exposing = states[control.name] is AcqState.RUNNING and not snapshot.control.finished
    taking = any(each.state is AcqState.RUNNING for each in snapshot.receivers)
    if exposing and taking and not failed and not force:
        raise StateError(f"{control.name} is acquiring; wait for its end, stop() or reset() it first")
    odd = [name for name, state in states.items() if state not in ready or failed]
    if not odd:
        return []
    outcomes = on_each([d for d in (control, *receivers) if d.name in odd], lambda device: device.call_here("Reset"))
    raise_failures(outcomes, "reset")
    said = []
    for name in odd:
        if states[name] in ready:
            continue
        text = errors[name]
        why = "" if text in ("", NO_ERROR) else f" ({without_name(name, error_from_json(text).what)})"
        said.append(f"{name} was in state {states[name].name}{why} and has been reset")
    for sentence in said:
        logger.warning(sentence)
    return said


def write_parameters(control: DeviceLink, receivers: Sequence[DeviceLink], acquisition: Tree, processing: Tree) -> None:
    """Give all devices their parameters, which they check; one error names every fault once."""
    values = {control.name: {"acq_params": json.dumps(acquisition)}}
    for rank, device in enumerate(receivers):
        values[device.name] = {
            "acq_params": json.dumps(for_rank(acquisition, rank)),
            "proc_params": json.dumps(for_rank(processing, rank, len(receivers))),
        }
    raise_refusals(on_each((control, *receivers), lambda device: device.write_here(values[device.name])))


def prepare_devices(
    control: DeviceLink,
    receivers: Sequence[DeviceLink],
    snapshot: Snapshot,
    keep_pipelines: int,
    processing_devices: bool = False,
) -> str:
    """Prepare all devices for a new acquisition and return its uuid; erase the oldest ended ones beforehand.

    If one device fails, all others are reset and the error names it.
    """
    uuid = str(uuids.uuid1())
    old: dict[str, tuple[str, ...]] = {}
    for device, found in zip(receivers, snapshot.receivers, strict=True):
        too_many = max(0, len(found.pipelines) + 1 - keep_pipelines)
        old[device.name] = found.erasable[:too_many]
    how = {device.name: "Prepare" if processing_devices else "prepareWithoutDevice" for device in receivers}
    outcomes = on_each(
        (control, *receivers),
        lambda device: _prepare(device, how.get(device.name, "Prepare"), old.get(device.name, ()), uuid),
    )
    if failures(outcomes):
        good = [device for device in (control, *receivers) if outcomes[device.name].error is None]
        undone = on_each(good, lambda device: device.call_here("Reset"))
        for name, error in failures(undone).items():
            logger.error("%s could not be reset: %s", name, error)
        raise_failures(outcomes, "prepare")
    return uuid


def _prepare(device: DeviceLink, command: str, old: Sequence[str], uuid: str) -> None:
    for each in old:
        device.call_here("erasePipeline", each)
    device.call_here(command, uuid)
