"""Bulk reading of frames from all receivers at once, in global order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lima2_bliss.client.receiver_link import Channel, ReceiverLink
from lima2_bliss.contract import (
    ConnectionLostError,
    FrameInfo,
    NotAvailableError,
    ProtocolError,
    RoundRobin,
    error_from_json,
)
from lima2_bliss.contract.wire import MAX_INDICES, FramesRequest, encode_reply

#: Pixels asked of one receiver in one request [bytes].
BATCH_BYTES = 16 << 20
#: Requests under way per receiver: one is on the wire while the one before is used.
AHEAD = 2

Pixels = np.ndarray


class ReceiverFrames:
    """The frames of one receiver, asked in batches, `AHEAD` batches before they are needed."""

    def __init__(self, channel: Channel, uuid: str, source: str, indices: Sequence[int], batch: int) -> None:
        self._channel = channel
        self._uuid = uuid
        self._source = source
        self._todo = deque(indices[start : start + batch] for start in range(0, len(indices), batch))
        self._asked: dict[int, Sequence[int]] = {}
        self._arrived: dict[int, deque[Pixels | NotAvailableError]] = {}
        self._ask_ahead()

    def take(self, index: int, timeout_s: float) -> Pixels:
        """Pixels of frame ``index``; raises `NotAvailableError` if the receiver has it no more or not yet."""
        while index not in self._arrived:
            self._receive(timeout_s)
        places = self._arrived[index]
        found = places.popleft()
        if not places:
            del self._arrived[index]
        if isinstance(found, NotAvailableError):
            raise found
        return found

    def _ask_ahead(self) -> None:
        while self._todo and len(self._asked) < AHEAD:
            indices = self._todo.popleft()
            request = FramesRequest(uuid=self._uuid, source=self._source, indices=list(indices))
            self._asked[self._channel.send(request)] = indices

    def _receive(self, timeout_s: float) -> None:
        answer = self._channel.receive(timeout_s)
        if answer is None:
            raise ConnectionLostError(
                f"{self._channel.receiver} sent no frames for {timeout_s:g} s: its process may have ended",
                device=self._channel.receiver,
            )
        reply, parts = answer
        asked = self._asked.pop(reply["id"])
        frames = list(decode_frames(reply, parts))
        for index, found in frames:
            self._arrived.setdefault(index, deque()).append(found)
        rest = asked[len(frames) :]
        if rest:
            if not frames:
                raise ProtocolError(f"{self._channel.receiver} sent no frame of {len(asked)} that were asked")
            self._todo.appendleft(rest)
        self._ask_ahead()


def decode_frames(reply: dict[str, Any], parts: Sequence[Any]) -> Iterator[tuple[int, Pixels | NotAvailableError]]:
    """(index, pixels or why there are none) of a ``frames`` reply, in the order asked. Pixels are read-only."""
    pixels = iter(parts)
    for frame in reply["frames"]:
        if "error" in frame:
            yield int(frame["index"]), _not_available(frame)
            continue
        try:
            array = np.frombuffer(next(pixels), np.dtype(reply["dtype"])).reshape(reply["shape"])
        except (StopIteration, ValueError, TypeError) as error:
            raise ProtocolError(f"pixels of frame {frame['index']} are not what the reply says: {error}") from None
        array.flags.writeable = False
        yield int(frame["index"]), array


def _not_available(frame: dict[str, Any]) -> NotAvailableError:
    described = encode_reply({"what": str(frame["error"]), "errinfo": {"kind": frame.get("kind", "")}})
    error = error_from_json(described.decode(), NotAvailableError)
    return error if isinstance(error, NotAvailableError) else NotAvailableError(error.what)


def batch_size(info: FrameInfo, batch_bytes: int = BATCH_BYTES) -> int:
    """How many frames to ask at a time, so that a batch stays near ``batch_bytes``."""
    return max(1, min(MAX_INDICES, batch_bytes // max(info.nbytes, 1)))


def read_frames(
    links: Sequence[ReceiverLink],
    uuid: str,
    source: str,
    indices: Sequence[int],
    dispatch: RoundRobin,
    info: FrameInfo,
    *,
    skip_missing: bool = False,
    timeout_s: float = 5.0,
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[tuple[int, Pixels]]:
    """(global index, pixels (channels, height, width)) in the order of ``indices``, read from all receivers at once.

    Frames that are not there raise `NotAvailableError`, or are left out with ``skip_missing``. The arrays are read-only
    and stay valid; at most `AHEAD` batches per receiver are in memory beside those that the caller keeps.
    """
    wanted: list[list[int]] = [[] for _ in links]
    for index in indices:
        wanted[dispatch.locate(index)[0]].append(index)
    batch = batch_size(info, batch_bytes)
    channels = {rank: link.open() for rank, link in enumerate(links) if wanted[rank]}
    try:
        readers = {
            rank: ReceiverFrames(channel, uuid, source, wanted[rank], batch) for rank, channel in channels.items()
        }
        for index in indices:
            try:
                yield index, readers[dispatch.locate(index)[0]].take(index, timeout_s)
            except NotAvailableError:
                if not skip_missing:
                    raise
    finally:
        for channel in channels.values():
            channel.close()


def read_one(link: ReceiverLink, uuid: str, source: str, index: int = -1, timeout_s: float = 5.0) -> tuple[int, Pixels]:
    """(global index, pixels) of one frame of one receiver; -1 is the newest that it has."""
    reply, parts = link.ask(FramesRequest(uuid=uuid, source=source, indices=[index]), timeout_s)
    found_index, found = next(decode_frames(reply, parts))
    if isinstance(found, NotAvailableError):
        raise found
    return found_index, found
