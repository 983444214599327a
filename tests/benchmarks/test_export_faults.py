"""A small run of the benchmark on failing disks and killed exports."""

from __future__ import annotations

import sys

import export_faults
import pytest

from napari_samadapt.imaging.writing import WRITABLE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full and fork")


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return export_faults.dicom_series(tmp_path_factory.mktemp("images") / "ct")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_disk_that_fails_leaves_the_old_file_and_is_told_of(tmp_path, volume, suffix):
    told = export_faults.faults(suffix, volume, tmp_path)
    assert len(told) == 5
    assert all("Choose another place" in text for text in told.values())


@pytest.mark.parametrize("suffix", [".nii.gz", ".dcm"])
def test_a_full_disk_says_that_it_is_full(suffix):
    told = export_faults.full_disk(suffix)
    if not told:
        pytest.skip("this system lets nobody make a small file system")
    assert "the disk is full" in told


@pytest.mark.parametrize("suffix", [".nii.gz", ".dcm"])
def test_a_killed_export_leaves_one_of_the_two_versions(tmp_path, volume, suffix):
    found = export_faults.killed(suffix, volume, tmp_path, count=2)
    assert found["first"] + found["second"] == 2


def test_half_a_file_and_a_silent_failure_would_be_found(tmp_path, volume):
    with pytest.raises(RuntimeError, match="no error"):
        export_faults.fails_safely(tmp_path / "a", lambda: "")
    with pytest.raises(RuntimeError, match="not as it was"):
        export_faults.fails_safely(tmp_path / "a", lambda: str((tmp_path / "b").write_text("half")))
