"""What the client knows of an acquisition at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lima2_bliss.client.errors_by_device import naming_receiver
from lima2_bliss.client.sources import FRAME, INPUT_FRAME, RAW
from lima2_bliss.contract import AcqState, Lima2Error, RoundRobin, error_from_json
from lima2_bliss.contract.wire import Counts, PipelineStatus, SourceStatus


@dataclass(frozen=True)
class DetectorState:
    """States of the devices of a detector, by device name."""

    control: AcqState
    receivers: tuple[AcqState, ...]


@dataclass(frozen=True)
class ReceiverStatus:
    """One receiver in one acquisition. ``reached`` is False when what follows is only the last that was heard."""

    name: str
    rank: int
    pipeline: PipelineStatus
    reached: bool = True

    @property
    def counts(self) -> Counts:
        return self.pipeline.counts

    def source(self, name: str) -> SourceStatus:
        """What it says of a frame source; a receiver that does not tell sources apart speaks of `FRAME`."""
        pipeline = self.pipeline
        if name in pipeline.sources:
            return pipeline.sources[name]
        if name == INPUT_FRAME:
            return SourceStatus(frame_info=pipeline.input_frame_info, last_index=pipeline.last_index)
        if name != FRAME:
            return SourceStatus()
        return SourceStatus(
            frame_info=pipeline.frame_info,
            last_index=pipeline.last_index,
            saved=pipeline.counts.saved,
            vetoed=pipeline.counts.vetoed,
            files=pipeline.files,
            saved_contiguous=pipeline.saved_contiguous,
        )

    @property
    def ended(self) -> bool:
        """Nothing more will come: all is processed, saved and closed, or it failed."""
        return self.pipeline.state in ("finished", "failed")

    @property
    def failure(self) -> Lima2Error | None:
        """Why it failed, if it did."""
        if self.pipeline.error:
            return error_from_json(self.pipeline.error)
        return Lima2Error("failed without saying why; see its log") if self.pipeline.state == "failed" else None


@dataclass(frozen=True)
class AcquisitionStatus:
    """One acquisition over all receivers.

    ``received``, ``processed``, ``saved`` and ``readable`` are *contiguous* global counts: all frames before are there.
    ``readable`` counts processed frames in complete files. Frames that were lost count as received (they are holes).
    ``vetoed`` of the saved ones are holes as well: they were not to be saved. ``hits``: where they are looked for.
    """

    uuid: str
    receivers: tuple[ReceiverStatus, ...]
    received: int
    processed: int
    saved: int
    readable: int
    lost: int
    invalid: int
    overrun: int
    vetoed: int = 0
    hits: int = 0

    @property
    def finished(self) -> bool:
        """True when no receiver has anything left to do (some may have failed)."""
        return all(receiver.ended for receiver in self.receivers)

    @property
    def processing_done(self) -> bool:
        """True when every receiver has processed all its frames; some may still be written to files."""
        return all(receiver.pipeline.processing_done for receiver in self.receivers)

    @property
    def failed(self) -> bool:
        return any(receiver.failure is not None for receiver in self.receivers)

    @property
    def intake(self) -> dict[str, int]:
        """What the receivers counted beside frames (packets, ...) by name, all together; see `ReceiverStatus.pipeline`.

        Empty when the detector counts nothing else.
        """
        total: dict[str, int] = {}
        for receiver in self.receivers:
            for name, count in receiver.pipeline.intake.items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def warnings(self) -> list[str]:
        """What users should know of the reception, each sentence naming its receiver, once."""
        told = [naming_receiver(each.name, text) for each in self.receivers for text in each.pipeline.warnings]
        return list(dict.fromkeys(told))

    @property
    def errors(self) -> list[str]:
        """One sentence per receiver that failed, naming it."""
        return [
            naming_receiver(receiver.name, receiver.failure.what)
            for receiver in self.receivers
            if receiver.failure is not None
        ]

    @property
    def last_index(self) -> int:
        """Global index of the newest processed frame of any receiver; -1 when there is none."""
        return max((receiver.pipeline.last_index for receiver in self.receivers), default=-1)


def gather(
    uuid: str, receivers: Sequence[ReceiverStatus], raw: RoundRobin, frames: RoundRobin, saved_source: str = FRAME
) -> AcquisitionStatus:
    """Put the receivers' counts together: ``raw`` is the dispatch of input frames, ``frames`` of processed ones.

    ``saved_source`` is the frame source whose files count (frames as that source has them).
    """
    counts = [receiver.counts for receiver in receivers]
    files = [receiver.source(saved_source) for receiver in receivers]
    dispatch = raw if saved_source in RAW else frames
    return AcquisitionStatus(
        uuid=uuid,
        receivers=tuple(receivers),
        received=raw.contiguous([each.received + each.lost for each in counts]),
        processed=frames.contiguous([each.processed + each.invalid for each in counts]),
        saved=dispatch.contiguous([each.saved for each in files]),
        readable=dispatch.contiguous([each.saved_contiguous for each in files]),
        lost=sum(each.lost for each in counts),
        invalid=sum(each.invalid for each in counts),
        overrun=sum(each.overrun for each in counts),
        vetoed=sum(each.vetoed for each in files),
        hits=sum(each.hits for each in counts),
    )
