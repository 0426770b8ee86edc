"""What the access server needs of a receiver: the few methods of the engine that it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from lima2_bliss.contract import FrameMeta
from lima2_bliss.contract.wire import PipelineStatus


class SharedFrames(Protocol):
    """The newest frames of one source, by global index."""

    def lease(self, index: int) -> AbstractContextManager[tuple[Any, FrameMeta]]:
        """Pixels (channels, height, width), or a `SparseFrame`, that stay as they are until the lease ends.

        Index -1 is the newest frame.
        """


class SharedRows(Protocol):
    """Result rows by stream name and position."""

    def length(self, name: str) -> int: ...

    def first(self, name: str) -> int: ...

    def read(self, name: str, position: int, max_rows: int) -> np.ndarray: ...


class SharedPipeline(Protocol):
    """One acquisition on this receiver, as its clients see it."""

    @property
    def uuid(self) -> str: ...

    @property
    def log(self) -> SharedRows: ...

    @property
    def stores(self) -> Mapping[str, SharedFrames]: ...

    def status(self) -> PipelineStatus: ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called after every change, from any thread; returns what ends it."""


class SharedReceiver(Protocol):
    """A receiver with its pipelines, newest last; ``pipeline("")`` is the newest."""

    @property
    def pipelines(self) -> Mapping[str, SharedPipeline]: ...

    def pipeline(self, uuid: str) -> SharedPipeline: ...

    def end_of(self, uuid: str) -> PipelineStatus | None:
        """The last status of an erased pipeline, as long as it is known."""
