"""What becomes of the frames of one source behind the pipeline: kept for clients, and saved."""

from __future__ import annotations

from lima2_bliss.contract import FrameMeta
from lima2_bliss.contract.wire import SourceStatus
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.plugin import FrameOutput, Holder
from lima2_receivers.engine.saving_thread import SavingThread
from lima2_receivers.engine.veto import FrameSelector


class OutputSource:
    """Store and saving of one frame source; saving may be absent. Frames come one by one in order."""

    def __init__(self, output: FrameOutput, store: FrameStore, saver: SavingThread | None) -> None:
        self.store = store
        self.saver = saver
        self._frame_info = output.info.to_json()
        self._selector = None if saver is None else FrameSelector(output.veto, saver.put)

    def keep(self, holder: Holder | None, meta: FrameMeta) -> None:
        """Show the frame to clients; the caller's reference stays his."""
        self.store.put(holder, meta)

    def save(self, holder: Holder | None, meta: FrameMeta) -> None:
        """Save the frame if it is to be saved; takes over the caller's reference."""
        if self._selector is not None:
            self._selector.put(holder, meta)
        elif holder is not None:
            holder.release()

    def end(self) -> None:
        """No more frames: save those that still wait for a decision."""
        if self._selector is not None:
            self._selector.flush()

    @property
    def vetoed(self) -> int:
        """Frames that were not to be saved."""
        return 0 if self._selector is None else self._selector.vetoed

    def status(self) -> SourceStatus:
        """What clients are told of this source."""
        if self.saver is None:
            return SourceStatus(frame_info=self._frame_info, last_index=self.store.last_index)
        files, contiguous = self.saver.writer.complete
        return SourceStatus(
            frame_info=self._frame_info,
            last_index=self.store.last_index,
            saved=self.saver.writer.saved,
            vetoed=self.vetoed,
            files=files,
            saved_contiguous=contiguous,
        )
