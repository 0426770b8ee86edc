"""Choosing which frames of a source are saved: the others become holes that keep their place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from lima2_bliss.contract import FrameFlags, FrameMeta
from lima2_bliss.contract.parameters import Veto
from lima2_receivers.engine.plugin import Holder


@dataclass(slots=True)
class _Waiting:
    holder: Holder | None
    meta: FrameMeta
    keep: bool


class FrameSelector:
    """Passes the frames of one source on to ``put``, in order, without the pixels of those that are not to be saved.

    A frame waits here until ``keep_before`` frames have followed, for one of them may be a hit. Used from one thread.
    """

    def __init__(self, veto: Veto, put: Callable[[Holder | None, FrameMeta], None]) -> None:
        self._veto = veto
        self._put = put
        self._waiting: deque[_Waiting] = deque()
        self._after = 0
        self._delay = veto.keep_before if veto.save == "hits" else 0
        #: Frames with pixels that were not to be saved.
        self.vetoed = 0

    def put(self, holder: Holder | None, meta: FrameMeta) -> None:
        """The next frame; takes over the caller's reference to what holds its pixels."""
        if not self._veto.active:
            self._put(holder, meta)
            return
        self._waiting.append(_Waiting(holder, meta, self._wanted(meta)))
        while len(self._waiting) > self._delay:
            self._pass_on()

    def flush(self) -> None:
        """No more frames: pass on those that wait."""
        while self._waiting:
            self._pass_on()

    def _wanted(self, meta: FrameMeta) -> bool:
        veto = self._veto
        nth = bool(veto.every) and veto.save != "none" and meta.index % veto.every == 0
        if veto.save != "hits":
            return nth
        if meta.hit:
            self._after = veto.keep_after
            for before in self._waiting:
                before.keep = True
            return True
        follows = self._after > 0
        self._after -= follows
        return nth or follows

    def _pass_on(self) -> None:
        frame = self._waiting.popleft()
        if frame.keep or frame.holder is None:
            self._put(frame.holder, frame.meta)
            return
        frame.holder.release()
        self.vetoed += 1
        self._put(None, replace(frame.meta, flags=FrameFlags(frame.meta.flags) | FrameFlags.VETOED))
