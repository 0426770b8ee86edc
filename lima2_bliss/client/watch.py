"""Following an acquisition as it happens: the receivers say when something changed, and silence is looked into."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lima2_bliss.client.concurrency import Pending, start
from lima2_bliss.client.errors_by_device import naming_receiver
from lima2_bliss.client.receiver_link import Channel, ReceiverLink, read_status, zmq_flavour
from lima2_bliss.client.status import ReceiverStatus
from lima2_bliss.client.tango_link import DeviceLink
from lima2_bliss.contract import (
    AcqState,
    AcquisitionError,
    ConnectionLostError,
    DeviceTimeoutError,
    Lima2Error,
    error_from_json,
)
from lima2_bliss.contract.states import state_from_tango
from lima2_bliss.contract.wire import PipelineStatus, ResultsRequest


@dataclass(frozen=True)
class Patience:
    """How long is waited before something is looked into [s]. Together they find a dead receiver within a second."""

    poll_s: float = 0.25  # a receiver with nothing new answers after this
    silence_s: float = 0.15  # later than that: is its process still there?
    mute_s: float = 5.0  # there, but not answering for this long: an error
    control_s: float = 0.4  # between two looks at control
    tick_s: float = 0.05  # between two looks at answers that have no socket
    breath_s: float = 0.02  # at most this between an answer and the next question


@dataclass
class _Follower:
    """One receiver being followed."""

    link: ReceiverLink
    device: DeviceLink
    pid: int
    status: ReceiverStatus
    channel: Channel
    asked_at: float = 0.0
    next_ask_at: float = 0.0
    heard_at: float = field(default_factory=time.monotonic)
    check: Pending[list[int]] | None = None
    lost: Lima2Error | None = None


class Watch:
    """Keeps one long-poll under way per receiver, and an eye on ``control`` if it is given.

    A context manager; one user at a time.
    """

    def __init__(
        self,
        uuid: str,
        links: Sequence[ReceiverLink],
        devices: Sequence[DeviceLink],
        pids: Sequence[int],
        control: DeviceLink | None,
        known: Sequence[ReceiverStatus],
        patience: Patience,
    ) -> None:
        self._uuid = uuid
        self._control = control
        self._patience = patience
        self._control_check: Pending[list[object]] | None = None
        self._control_checked_at = time.monotonic()
        self._poller = zmq_flavour().Poller()
        self._followers: list[_Follower] = []
        for link, device, pid, status in zip(links, devices, pids, known, strict=True):
            follower = _Follower(link, device, pid, status, link.open())
            self._followers.append(follower)
            self._ask(follower)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        for follower in self._followers:
            follower.channel.close()

    @property
    def receivers(self) -> list[ReceiverStatus]:
        """The last that each receiver said."""
        return [follower.status for follower in self._followers]

    @property
    def lost(self) -> dict[str, Lima2Error]:
        """Receivers that are given up, and why (each error names its receiver)."""
        return {each.link.receiver: each.lost for each in self._followers if each.lost is not None}

    def next(self, timeout_s: float, hold_s: Callable[[], float] = lambda: 0.0) -> None:
        """Wait for news of any receiver or of control, at most ``timeout_s``.

        ``hold_s`` says how long nothing interesting can happen (bounded by ``breath_s``): questions wait so long.
        Raises when control fails; receivers that are lost end up in `lost`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            self._look_at_control(now)
            lost_before = len(self.lost)
            for follower in self._followers:
                self._look_into_silence(follower, now)
                if not follower.channel.outstanding and not follower.lost and now >= follower.next_ask_at:
                    self._ask(follower)
            pause = min(self._pause(now), max(deadline - now, 0.0))
            ready = dict(self._poller.poll(max(1, int(pause * 1000)) if pause > 0 else 0))
            heard = [follower for follower in self._followers if follower.channel.socket in ready]
            for follower in heard:
                self._listen(follower)
            if heard or len(self.lost) > lost_before:
                wait_s = min(hold_s(), self._patience.breath_s)
                for follower in heard:
                    follower.next_ask_at = time.monotonic() + wait_s
                return
            if time.monotonic() >= deadline:
                return

    def _pause(self, now: float) -> float:
        waiting = [f.next_ask_at - now for f in self._followers if not f.channel.outstanding and not f.lost]
        return max(0.0, min([self._patience.tick_s, *waiting]))

    def _ask(self, follower: _Follower) -> None:
        self._poller.register(follower.channel.socket, zmq_flavour().POLLIN)
        wait_ms = int(self._patience.poll_s * 1000)
        if follower.status.ended:
            wait_ms = 1000  # nothing more comes; only its death would be news
        revision = follower.status.pipeline.revision if follower.status.reached else -1
        follower.channel.send(ResultsRequest(uuid=self._uuid, seen=revision, wait_ms=wait_ms))
        follower.asked_at = time.monotonic()

    def _listen(self, follower: _Follower) -> None:
        try:
            answer = follower.channel.receive(0.0)
        except Lima2Error as error:
            follower.lost = AcquisitionError(naming_receiver(follower.link.receiver, error.what), **error.errinfo)
            return
        if answer is not None:
            status = read_status(answer[0], follower.link.receiver)
            follower.status = ReceiverStatus(follower.link.receiver, follower.status.rank, status)
            follower.heard_at = time.monotonic()

    def _look_into_silence(self, follower: _Follower, now: float) -> None:
        if follower.lost or not follower.channel.outstanding or follower.status.ended:
            return
        if follower.check is None:
            if now - follower.asked_at > self._patience.poll_s + self._patience.silence_s:
                follower.check = start(lambda: follower.device.read_here("pid"))
            return
        if not follower.check.done():
            return
        outcome, follower.check = follower.check.outcome(), None
        name = follower.link.receiver
        if isinstance(outcome.error, ConnectionLostError):
            follower.lost = ConnectionLostError(
                f"receiver {name} was lost in the acquisition: {outcome.error.what}", device=name
            )
        elif outcome.value is not None and int(outcome.value[0]) != follower.pid:
            follower.lost = ConnectionLostError(
                f"receiver {name} was restarted in the acquisition; its frames since its last file are gone",
                device=name,
            )
        elif now - follower.heard_at > self._patience.mute_s:
            follower.lost = DeviceTimeoutError(
                f"receiver {name} says nothing of the acquisition for {self._patience.mute_s:g} s; see its log",
                device=name,
            )
        if follower.lost:
            follower.status = ReceiverStatus(name, follower.status.rank, follower.status.pipeline, reached=False)
        else:
            follower.asked_at = now - self._patience.poll_s  # look again after another silence

    def _look_at_control(self, now: float) -> None:
        control = self._control
        if control is None:
            return
        if self._control_check is None:
            if now - self._control_checked_at > self._patience.control_s:
                self._control_check = start(lambda: control.read_here("State", "last_error"))
            return
        if not self._control_check.done():
            return
        outcome, self._control_check = self._control_check.outcome(), None
        self._control_checked_at = now
        if isinstance(outcome.error, DeviceTimeoutError):
            return  # busy; a control that is gone shows as another error
        if outcome.error is not None:
            what = outcome.error.what if isinstance(outcome.error, Lima2Error) else str(outcome.error)
            raise ConnectionLostError(f"control was lost in the acquisition: {what}", device=control.name)
        state, error = outcome.get()
        if state_from_tango(str(state)) is AcqState.FAULT:
            raise AcquisitionError(f"control {control.name} failed: {error_from_json(str(error)).what}")


def nothing_yet(name: str, rank: int, uuid: str) -> ReceiverStatus:
    """What is known of a receiver before it was asked."""
    return ReceiverStatus(name, rank, PipelineStatus(uuid=uuid, revision=-1), reached=False)
