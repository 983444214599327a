"""A session saved, opened and gone on with is the session that was saved."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Source, Volume
from napari_samadapt.session import session_folder
from napari_samadapt.session.session_folder import open_session, read_session

KEY = SliceKey(0, 2)
BOX = Prompts(box=np.array([4, 5, 14, 16], np.float32))


def paint(session, index: int, value: int = 1) -> None:
    plane = np.zeros(session.annotation.shape, bool)
    plane[index, 6:16, 5:14] = True
    indices = np.nonzero(plane)
    before = session.annotation[indices]
    session.annotation[indices] = value
    session.record_edit(indices, before, np.full(len(before), value))


@pytest.fixture
def on_disk(volume, tmp_path):
    """The volume as a NIfTI file, read again."""
    from napari_samadapt.imaging.reading import read_volume

    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.data.T, volume.affine), path)
    return read_volume(path)


@pytest.fixture
def learned(make_session, queue, on_disk):
    """A session with an accepted slice, a draft, an adapter, and masks of it on the other slices."""
    session = make_session(volume=on_disk)
    paint(session, 2)
    session.accept(KEY)
    session.start_learning()
    assert queue.run_until(lambda: session.adapter_version > 0 and not session.refreshing, 60)
    drafts = []
    session.drafted.connect(drafts.append)
    session.set_prompts(SliceKey(0, 4), BOX)
    assert queue.run_until(lambda: bool(drafts), 30)
    session.set_locked(2, True)
    return session


@pytest.fixture
def reopen(queue, sam):
    opened = []

    def make(folder, **changes):
        opened.append(open_session(folder, post=queue, **{"sam": sam} | changes))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


def test_a_saved_session_goes_on(learned, queue, reopen, tmp_path):
    folder = tmp_path / "saved"
    displayed, steps = learned.displayed(), (learned.can_undo, learned.can_redo)
    assert learned.save(folder) == folder
    learned.close()
    assert {path.name for path in folder.iterdir()} == {
        "session.json", "work.records", "masks.nii.gz", "masks.json", "adapter.safetensors"
    }  # fmt: skip
    assert np.array_equal(np.asarray(nibabel.load(folder / "masks.nii.gz").dataobj).T, displayed)
    session = reopen(folder)
    assert queue.run_until(lambda: session.adapter_version > 0 and not session.refreshing, 60)
    assert np.array_equal(session.annotation, learned.annotation)
    assert session.accepted == {KEY}
    assert session.prompts.keys() == {SliceKey(0, 4)}
    assert (session.can_undo, session.can_redo) == steps
    assert [(shown.name, shown.locked) for shown in session.classes] == [
        ("liver", False), ("spleen", True), ("kidney", False)
    ]  # fmt: skip
    assert (session.window, session.axis, session.policy) == (Window(0.0, 1.0), 0, learned.policy)
    assert np.array_equal(session.displayed(), displayed), "the adapter predicts what it did"
    assert not session._learning._accepted.new, "what was accepted before starts no episode"
    assert session._learning.next_version() > max(learned.adapter_version, 1)


def test_saving_again_renews_it(make_session, reopen, tmp_path):
    session = make_session()
    paint(session, 2)
    session.save(tmp_path / "saved")
    paint(session, 3, 2)
    session.save(tmp_path / "saved")
    again = reopen(tmp_path / "saved", volume=session.volume)
    assert np.array_equal(again.annotation, session.annotation)
    assert not (tmp_path / "saved" / "adapter.safetensors").exists()


def test_the_image_is_found_by_its_path_and_told_by_its_voxels(learned, reopen, on_disk, tmp_path):
    learned.save(tmp_path / "saved")
    on_disk.source.path.rename(tmp_path / "moved.nii.gz")
    with pytest.raises(SamAdaptError, match="not there any more"):
        reopen(tmp_path / "saved")
    other = Volume(on_disk.data + 1, on_disk.affine, Source())
    with pytest.raises(SamAdaptError, match="belongs to another image"):
        reopen(tmp_path / "saved", volume=other)
    assert reopen(tmp_path / "saved", volume=on_disk).accepted == {KEY}


def test_an_adapter_of_another_model_is_told_and_the_masks_are_there(learned, queue, reopen, sam, tmp_path):
    learned.save(tmp_path / "saved")
    learned.close()
    sam.base_sha256 = "f" * 64
    session = reopen(tmp_path / "saved")
    told = []
    session.failed.connect(told.append)
    assert queue.run_until(lambda: bool(told), 30)
    assert "was made for tiny" in told[0]
    assert np.array_equal(session.annotation, learned.annotation)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "session.json").unlink(), "holds no saved session"),
        (lambda folder: (folder / "session.json").write_text("{"), "session.json cannot be read"),
        (lambda folder: (folder / "session.json").write_text("[]"), "damaged or of another version"),
        (lambda folder: change(folder, format="napari-samadapt session 9"), "of another version"),
        (lambda folder: change(folder, policy={"seconds": 0, "run": "rm"}), "damaged or of another version"),
        (lambda folder: (folder / "work.records").unlink(), "damaged or of another version"),
        (lambda folder: (folder / "work.records").write_bytes(b"x" * 99), "damaged or of another version"),
    ],
)
def test_a_damaged_folder_is_refused(make_session, tmp_path, damage, message):
    folder = make_session().save(tmp_path / "saved")
    damage(folder)
    with pytest.raises(SamAdaptError, match=message):
        read_session(folder)


def change(folder, **values) -> None:
    path = folder / "session.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("name", "message"),
    [("file", "is a file"), ("full", "holds other things"), ("no/where", "does not exist")],
)
def test_a_folder_of_something_else_is_left_alone(make_session, tmp_path, name, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(SamAdaptError, match=message):
        make_session().save(tmp_path / name)
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "mine").read_text() == "mine"
    assert len(list((tmp_path / "full").iterdir())) == 1


def test_a_disk_that_fills_up_leaves_the_earlier_session(make_session, reopen, tmp_path, monkeypatch):
    session = make_session()
    paint(session, 2)
    session.save(tmp_path / "saved")
    before = session.annotation.copy()
    paint(session, 3, 2)

    def full(part):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session_folder, "new_file", full)
    with pytest.raises(SamAdaptError, match="the disk is full"):
        session.save(tmp_path / "saved")
    assert np.array_equal(reopen(tmp_path / "saved", volume=session.volume).annotation, before)


def test_no_text_of_the_header_is_written(make_session, volume, tmp_path):
    source = replace(volume.source, notes=("Patient DOE^JANE",), modality="MR")
    session = make_session(volume=Volume(volume.data, volume.affine, source))
    paint(session, 2)
    folder = session.save(tmp_path / "saved")
    assert not any(b"DOE" in path.read_bytes() for path in folder.iterdir())
