"""What is linked into a scan file, for each kind of file that an acquisition can have."""

from __future__ import annotations

import logging
from pathlib import Path

from lima2_bliss.contract.parameters import LegacyParameters, Saving, SmxParameters
from lima2_bliss.controller.scan_links import LINK_NAMES, beside_counters, file_links


def saving(source: str) -> Saving:
    return Saving(enabled=True, base_path="/data/scan0001", filename_prefix=f"det_{source}", nx_detector_name="det")


def files(*sources: str) -> dict[str, Path]:
    return {source: saving(source).layout().master_file for source in sources}


def test_raw_frames_of_a_jungfrau_are_linked_with_their_headers_beside_the_records_of_the_images():
    processing = LegacyParameters(saving=saving("frame"), saving_raw=saving("raw_frame")).model_dump(mode="json")
    links = file_links(files("frame", "raw_frame"), processing, Path("/data/data.h5"))
    place = "/entry_0000/instrument/det"
    assert links == {
        "raw_frames": f"scan0001/det_raw_frame_master.h5::{place}",
        "frame_flags": f"scan0001/det_frame_master.h5::{place}/frame_flags",
        "frame_index": f"scan0001/det_frame_master.h5::{place}/frame_index",
        "timestamp": f"scan0001/det_frame_master.h5::{place}/timestamp",
    }


def test_sparse_frames_alone_bring_their_own_records():
    processing = SmxParameters(saving_sparse=saving("sparse_frame")).model_dump(mode="json")
    links = file_links(files("sparse_frame"), processing, Path("/data/data.h5"))
    assert set(links) == {"sparse_frames", "peaks", "frame_flags", "frame_index", "timestamp"}
    assert all(target.startswith("scan0001/det_sparse_frame_master.h5::/") for target in links.values())


def test_all_links_of_smx_have_reserved_names_and_files_elsewhere_are_named_in_full():
    sections = {
        "saving_dense": "frame",
        "saving_sparse": "sparse_frame",
        "saving_accumulation_corrected": "acc_corrected",
        "saving_accumulation_peak": "acc_peaks",
    }
    processing = SmxParameters(**{section: saving(source) for section, source in sections.items()})
    links = file_links(files(*sections.values()), processing.model_dump(mode="json"), Path("/other/data.h5"))
    assert set(links) == LINK_NAMES - {"raw_frames", "all_images", "data"}
    assert all(target.startswith("/data/scan0001/det_") for target in links.values())
    assert "_frame_master" in links["hits"]
    assert "_frame_master" in links["frame_flags"]


def test_images_that_are_written_after_the_end_of_the_scan_are_linked_as_a_whole():
    processing = LegacyParameters(saving=saving("frame")).model_dump(mode="json")
    links = file_links(files("frame"), processing, Path("/data/data.h5"), complete=False)
    assert links["all_images"] == "scan0001/det_frame_master.h5::/entry_0000/instrument/det/data"


def test_metadata_is_never_written_over_the_values_of_a_counter(caplog):
    metadata = {"distance": 0.1, "distance@units": "m", "type": "lima", ">hits": "x.h5::/hits"}
    with caplog.at_level(logging.WARNING):
        left = beside_counters(metadata, ["det:distance", "det:hits"], "det")
    assert left == {"type": "lima", ">hits": "x.h5::/hits"}
    assert "det: metadata distance is not in the scan file" in caplog.text
