"""The list of saved adapters, and one of them on a folder of volumes."""

import gzip

import nibabel
import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, read_adapter, read_card, save_adapter
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.semantic import SemanticSam
from napari_samadapt.session.adapter_library import AdapterLibrary, adapters_folder, card_lines, checked_name
from napari_samadapt.session.folder_prediction import mask_path, predict_folder, volumes_in


@pytest.fixture
def save(sam):
    """Writes an adapter of the tiny SAM to a path."""

    def write(path):
        config = AdapterConfig("decoder-only")
        model = SemanticSam(sam, (1, 4))
        card = AdapterCard(
            sam.base_sha256, "tiny", 64, config, {1: "liver", 4: "kidney"}, (0.0, 1.0), "axial", 0.9
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_adapter(path, AdapterState(1, config, (1, 4), adapters.state(model)), card)

    return write


@pytest.fixture
def library(tmp_path):
    return AdapterLibrary(tmp_path / "library")


def test_the_folder_can_be_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAMADAPT_ADAPTERS", str(tmp_path))
    assert adapters_folder() == tmp_path


def test_adapters_of_the_folder_and_from_elsewhere_are_listed_by_name(library, save, tmp_path):
    assert library.adapters() == ()
    save(library.path_for("spine"))
    outside = save(tmp_path / "usb" / "Abdomen.safetensors")
    library.remember(outside)
    library.remember(outside)
    (library.folder / "damaged.safetensors").write_bytes(b"no adapter")
    assert [(one.name, one.ours) for one in library.adapters()] == [("Abdomen", False), ("spine", True)]
    outside.unlink()
    assert [one.name for one in library.adapters()] == ["spine"], "a file that is gone is not listed"


def test_the_card_is_read_without_the_tensors(library, save):
    path = save(library.path_for("spine"))
    assert read_card(path) == read_adapter(path)[1]
    lines = dict(card_lines(read_card(path)))
    assert lines["Classes"] == "1 liver, 4 kidney"
    assert lines["Dice, held out"] == "0.900"
    assert lines["Base model"].startswith("tiny, 64 pixels")


def test_a_taken_name_gets_a_number(library, save):
    save(library.path_for("spine"))
    assert library.path_for("spine").name == "spine 2.safetensors"
    assert library.path_for("spine.safetensors").name == "spine 2.safetensors"


def test_rename(library, save, tmp_path):
    save(library.path_for("spine"))
    library.remember(save(tmp_path / "usb" / "abdomen.safetensors"))
    abdomen, spine = library.adapters()
    library.rename(spine, "lumbar spine")
    library.rename(abdomen, "belly")
    assert [one.name for one in library.adapters()] == ["belly", "lumbar spine"]
    assert (tmp_path / "usb" / "belly.safetensors").is_file()
    save(library.path_for("hip"))
    with pytest.raises(SamAdaptError, match="already"):
        library.rename(library.adapters()[1], "lumbar spine")


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "nul\0", "C:x", "x" * 101])
def test_names_that_no_file_system_takes_are_refused(name):
    with pytest.raises(SamAdaptError, match="no name for a file"):
        checked_name(name)


def test_delete_removes_the_file_only_from_the_folder(library, save, tmp_path):
    save(library.path_for("spine"))
    outside = save(tmp_path / "usb" / "abdomen.safetensors")
    library.remember(outside)
    for one in library.adapters():
        library.delete(one)
    assert library.adapters() == ()
    assert outside.is_file(), "what the user saved elsewhere is not ours to delete"
    assert not list(library.folder.glob("*.safetensors"))


def test_adding_a_file_that_is_no_adapter_is_refused(library, tmp_path, save):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(SamAdaptError):
        library.add(path)
    assert library.add(save(tmp_path / "spine.safetensors")).parent == library.folder
    assert [one.name for one in library.adapters()] == ["spine"]


@pytest.fixture
def scans(tmp_path):
    """Two volumes, one damaged file, a note, and a mask from before."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = nibabel.Nifti1Image(rng.random((20, 24, 3), dtype=np.float32), np.diag([-1, -1, 2, 1]))
        image.to_filename(folder / f"{name}.nii.gz")
        (folder / "a_masks.nii.gz").write_bytes((folder / f"{name}.nii.gz").read_bytes())
    (folder / "broken.nii.gz").write_bytes(b"not gzip")
    (folder / "notes.txt").write_text("x")
    return folder


def test_which_volumes_a_folder_holds(scans, tmp_path):
    (scans / "series").mkdir()
    (scans / "series" / "1.dcm").write_bytes(b"")
    assert [path.name for path in volumes_in(scans)] == ["a.nii.gz", "b.nii.gz", "broken.nii.gz", "series"]
    assert mask_path(scans / "a.nii.gz", tmp_path).name == "a_masks.nii.gz"
    assert mask_path(scans / "series", tmp_path).name == "series_masks.nii.gz"
    with pytest.raises(SamAdaptError, match="no volume"):
        volumes_in(tmp_path)


def test_every_volume_gets_its_masks_and_a_bad_file_is_told(sam, save, scans, tmp_path):
    adapter, out, told = save(tmp_path / "organs.safetensors"), tmp_path / "out", []
    done = predict_folder(lambda: sam, adapter, scans, out, told.append)
    assert [path.name for path in done.written] == ["a_masks.nii.gz", "b_masks.nii.gz"]
    assert len(done.failures) == 1
    assert "broken" in done.failures[0]
    written = nibabel.load(done.written[0])
    assert written.shape == (20, 24, 3)
    assert np.allclose(written.affine, nibabel.load(scans / "a.nii.gz").affine)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    adapters.remove(sam)
    before = done.written[0].stat().st_mtime_ns
    again = predict_folder(lambda: sam, adapter, scans, out)
    assert again.there == done.written, "masks that are there are left alone"
    assert done.written[0].stat().st_mtime_ns == before


def two_positions(path, shift=3.0):
    """A volume whose sform and qform are so many mm apart."""
    image = nibabel.Nifti1Image(
        np.random.default_rng(1).random((20, 24, 3), dtype=np.float32), np.diag([-1, -1, 2, 1])
    )
    moved = image.affine.copy()
    moved[2, 3] += shift
    image.set_sform(image.affine, 1)
    image.set_qform(moved, 1)
    image.to_filename(path)
    return moved


def test_what_a_file_leaves_open_stops_no_other_and_can_be_answered_for_all(sam, save, scans, tmp_path):
    moved = two_positions(scans / "aa.nii.gz")
    two_positions(scans / "c.nii.gz", shift=4)
    adapter, out = save(tmp_path / "organs.safetensors"), tmp_path / "out"
    done = predict_folder(lambda: sam, adapter, scans, out)
    assert [path.name for path in done.written] == ["a_masks.nii.gz", "b_masks.nii.gz"]
    assert [(one.name, one.question.name) for one in done.undecided] == [
        ("aa.nii.gz", "transform"),
        ("c.nii.gz", "transform"),
    ]
    told = done.undecided[0].sentence
    assert "aa.nii.gz" in told
    assert "3 mm" in told
    assert told.endswith("Open aa.nii.gz by itself, or answer for the whole folder.")
    assert "\n" not in told
    assert len(done.failures) == 1, "an open question is no failure"
    adapters.remove(sam)
    again = predict_folder(lambda: sam, adapter, scans, out, choices={"transform": "qform"})
    assert [path.name for path in again.written] == ["aa_masks.nii.gz", "c_masks.nii.gz"]
    assert again.undecided == ()
    assert read_volume(again.written[0], choices={"transform": "qform"}).affine == pytest.approx(
        read_volume(scans / "aa.nii.gz", choices={"transform": "qform"}).affine
    )
    assert np.allclose(nibabel.load(again.written[0]).get_qform(), moved)


def test_an_answer_that_does_not_fit_a_file_is_told_for_that_file(sam, save, scans, tmp_path):
    two_positions(scans / "aa.nii.gz")
    adapter = save(tmp_path / "organs.safetensors")
    done = predict_folder(lambda: sam, adapter, scans, tmp_path / "out", choices={"transform": "upside down"})
    assert len(done.written) == 2
    assert any("'upside down' is no answer here" in failure for failure in done.failures)


def test_two_files_of_one_name_are_told_apart(sam, save, scans, tmp_path):
    (scans / "a.nii").write_bytes(gzip.decompress((scans / "a.nii.gz").read_bytes()))
    done = predict_folder(lambda: sam, save(tmp_path / "organs.safetensors"), scans, tmp_path / "out")
    assert [path.name for path in done.written] == ["a_masks.nii.gz", "b_masks.nii.gz"]
    assert done.there == ()
    assert any(failure.startswith("a.nii.gz was left out") for failure in done.failures)


@pytest.mark.parametrize("name", ["1.dcm", "1.IMA", "1.dicom", "IM0001"])
def test_a_folder_with_dicom_files_of_any_name_is_a_volume(tmp_path, name):
    series = tmp_path / "scans" / "series"
    series.mkdir(parents=True)
    (series / name).write_bytes(bytes(128) + b"DICM" + bytes(40))
    (tmp_path / "scans" / "notes").mkdir()
    (tmp_path / "scans" / "notes" / "read.me").write_text("x")
    assert volumes_in(tmp_path / "scans") == (series,)
    assert volumes_in(series) == (series,)


def test_stopping_writes_nothing_of_the_volume_at_hand(sam, save, scans, tmp_path):
    told = []
    done = predict_folder(
        lambda: sam, save(tmp_path / "organs.safetensors"), scans, tmp_path / "out", told.append,
        may_go_on=lambda: not any(progress.volume == 2 and progress.slice == 1 for progress in told),
    )  # fmt: skip
    assert done.stopped
    assert [path.name for path in done.written] == ["a_masks.nii.gz"]
    assert not (tmp_path / "out" / "b_masks.nii.gz").exists()


def test_an_adapter_of_another_model_is_refused_before_anything_is_written(sam, save, scans, tmp_path):
    adapter = save(tmp_path / "organs.safetensors")
    sam.base_sha256 = "1" * 64
    with pytest.raises(SamAdaptError, match="load the model it was made for"):
        predict_folder(lambda: sam, adapter, scans, tmp_path / "out")
