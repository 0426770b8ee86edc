"""Names of a detector object that the shell does not offer: BLISS and scans call them."""

from __future__ import annotations

#: What scans call; not shown when the shell completes.
PLUMBING = frozenset(
    {"DEVICE_TYPE", "abandon", "apply_parameters", "create_chain_node", "create_counter", "get_acquisition_object"}
    | {"get_current_parameters", "get_default_chain_parameters", "note_failure", "prepare_acquisition", "publisher"}
    | {"disable_scan_metadata", "enable_scan_metadata", "remember", "scan_metadata", "scan_metadata_enabled"}
    | {
        "fullname",
        "last_outcome",
        "make_way",
        "name_acquisition",
        "scan_metadata_name",
        "settings_now",
        "unsaved_scans",
    }
    | {"dataset_metadata", "dataset_metadata_enabled", "dataset_metadata_groups", "describe_scan"}
    | {"disable_dataset_metadata", "enable_dataset_metadata"}
)
