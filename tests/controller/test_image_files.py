"""Places for image files are refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from lima2_bliss.contract import ParameterError, SavingError
from lima2_bliss.contract.parameters import Saving, parse
from lima2_bliss.controller.image_files import check_directory, check_path, image_saving
from lima2_bliss.controller.settings_models import SavingSettings


@pytest.mark.parametrize("path", ["/data/100%/run_", "/data/run%d_"])
def test_a_percent_sign_is_refused_wherever_it_is(path: str):
    with pytest.raises(ParameterError, match=r"'%' is not possible.*images_prefix"):
        check_path(Path(path))


def test_a_percent_sign_in_the_prefix_is_refused_without_bliss_too():
    with pytest.raises(ParameterError, match="filename_prefix"):
        parse(Saving, {"filename_prefix": "run%d"}, "saving")


def test_a_directory_below_a_file_is_refused_with_the_name_of_the_file(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SavingError, match=r"file is a file\); check SCAN_SAVING"):
        check_directory(tmp_path / "file" / "scan0001")
    with pytest.raises(SavingError, match="cannot be created"):
        image_saving(SavingSettings(), "det", str(tmp_path / "file" / "scan0001"), "")


def test_a_directory_that_can_be_created_is_not_created_by_the_check(tmp_path: Path):
    check_directory(tmp_path / "scan0001" / "images")
    assert list(tmp_path.iterdir()) == []
