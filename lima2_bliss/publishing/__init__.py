"""Publishing into blissdata: stream definitions, the publisher that fills them, its client, and readers.

Import from the modules: `publisher_client` (sessions), `readers` (consumers), `spots`, `sparse_file` and `densify`
(analysis, no Redis), `lima_info` (image streams); the publisher process is `server`. Here are the words they share.
"""

from lima2_bliss.publishing.job import Budget, Limits, PublishJob, ReceiverAddress, StreamTarget
from lima2_bliss.publishing.publication_status import PublicationStatus
from lima2_bliss.publishing.streams import (
    StreamDefinition,
    legacy_streams,
    pipeline_streams,
    row_counts,
    rows_per_frame,
    smx_streams,
)

__all__ = [
    # streams
    "StreamDefinition",
    "legacy_streams",
    "pipeline_streams",
    "row_counts",
    "rows_per_frame",
    "smx_streams",
    # jobs and their status
    "Budget",
    "Limits",
    "PublicationStatus",
    "PublishJob",
    "ReceiverAddress",
    "StreamTarget",
]
