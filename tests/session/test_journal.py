"""What was done is on the disk, and what is on the disk is what was done; of a torn file all but its end."""

from __future__ import annotations

import json
import os
import stat
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Source, Volume
from napari_samadapt.session import journal as journal_module
from napari_samadapt.session.case_lock import CaseLock, lock_path
from napari_samadapt.session.journal import Case, Journal
from napari_samadapt.session.journal_files import case_of, purge, recover, unfinished
from napari_samadapt.session.private_files import create_private, make_private_folder, open_private
from napari_samadapt.session.records import Packer, read_records
from napari_samadapt.session.replay import Dictation, Replay

BOX = Prompts(box=np.array([0, 0, 3, 3]), mask_input=np.eye(5, 6, dtype=bool))
POINTS = Prompts(point_coords=np.array([[1, 2]]), point_labels=np.array([1]))
KEY = SliceKey(0, 1)


def now(function) -> None:
    function()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journals"


@pytest.fixture
def begin(folder, desk):
    """Journals of the desk's volume; whatever is still open is closed at the end."""
    opened = []

    def make(**changes) -> Journal:
        told = changes.pop("failed", pytest.fail)
        journal = Journal(Case(desk.volume, folder), now, told, **changes)
        opened.append(journal)
        desk.record_to(journal)
        return journal

    yield make
    for journal in opened:
        journal.close(delete=False)


def work(desk) -> None:
    """Something of everything."""
    desk.paint(0, 1)
    desk.accept(SliceKey(0, 0))
    desk.predict(KEY, np.full((5, 6), 2, np.uint16))
    desk.select_class(5)
    desk.set_prompts(KEY, BOX)
    desk.answer(np.tri(5, 6, dtype=bool))
    desk.select_class(1)
    desk.set_prompts(KEY, POINTS)
    desk.answer(np.eye(5, 6, dtype=bool))
    desk.add_class("aorta")
    desk.rename_class(2, "milt")
    desk.recolor_class(2, (0.1, 0.2, 0.3))
    desk.set_locked(2, True)
    desk.import_labels(np.full((4, 5, 6), 9), {9: "stomach"})
    desk.undo()
    desk.redo()
    desk.remove_class(9)
    desk.set_prompts(SliceKey(0, 3), POINTS)


def taken_up(make_desk, recovered):
    other = make_desk()
    other.take_up(recovered.work)
    return other


def test_everything_comes_back(begin, desk, make_desk):
    journal = begin()
    work(desk)
    journal.close(delete=False)
    recovered = recover(journal.path)
    other = taken_up(make_desk, recovered)
    assert (other.state, other.steps) == (desk.state, desk.steps)
    assert (other.active_class, other.window, other.axis) == (desk.active_class, desk.window, desk.axis)
    assert [request.key for request in other.asked] == [SliceKey(0, 3)]
    assert recovered.last_label == "removal of stomach"
    assert time.time() - recovered.last < 60
    while desk.undo():
        assert other.undo()
        assert (other.state, other.steps) == (desk.state, desk.steps)


NAMES = ("paint", "accept", "reject", "ask", "answer", "keep", "remove", "import", "undo", "redo")
ACTS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3)), max_size=20)


def act(desk, name: str, number: int) -> None:
    key = SliceKey(0, number)
    rng = np.random.default_rng(number)
    match name:
        case "paint" if desk.classes:
            desk.begin_edit(key)
            desk.paint(number, desk.classes[0].id)
        case "accept" | "reject":
            getattr(desk, name)(key)
        case "keep":
            desk.keep_draft(key)
        case "ask" if desk.active_class:
            desk.set_prompts(key, POINTS)
        case "answer" if desk.asked:
            desk.answer(rng.random((5, 6)) < 0.5)
        case "remove" if desk.classes:
            desk.remove_class(desk.classes[number % len(desk.classes)].id)
        case "import":
            desk.import_labels(rng.integers(0, 4, (4, 5, 6)) * 3)
        case "undo" | "redo":
            getattr(desk, name)()


@given(acts=ACTS, place=st.floats(0, 1), rubbish=st.binary(max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_torn_anywhere_holds_every_act_before(
    make_desk, tmp_path_factory, acts, place, rubbish
):
    desk, dictation = make_desk(), Dictation()
    written, states = [dictation.start(desk.work)], [(desk.state, desk.steps)]

    def record(one) -> None:
        if text := dictation.act(one, 0.0):
            written.append(text)
            states.append((desk.state, desk.steps))

    desk.record_to(record)
    for name, number in acts:
        act(desk, name, number)
    content = b"".join(written)
    torn = len(written[0]) + int(place * (len(content) - len(written[0])))
    path = tmp_path_factory.mktemp("torn") / "file"
    path.write_bytes(content[:torn] + rubbish)
    replay, whole = Replay((4, 5, 6)), 0
    with path.open("rb") as file:
        for read, _ in read_records(file):
            replay.take(read)
            whole += 1
    assert whole == np.searchsorted(np.cumsum([len(one) for one in written]), torn, "right")
    other = make_desk()
    other.take_up(replay.work)
    assert (other.state, other.steps) == states[whole - 1]


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_ends_the_journal_there_and_nothing_wrong_is_read(begin, desk, make_desk, place):
    journal = begin()
    states = [desk.state]
    for index in range(4):
        desk.paint(index, 1)
        states.append(desk.state)
    journal.close(delete=False)
    content = bytearray(journal.path.read_bytes())
    content[int(len(content) * place)] ^= 4
    journal.path.write_bytes(content)
    if place < 0.2:
        with pytest.raises(SamAdaptError, match="cannot be read"):
            recover(journal.path)
    else:
        assert taken_up(make_desk, recover(journal.path)).state in states[:-1]


def test_a_journal_goes_on_after_its_torn_end(begin, desk, folder, make_desk):
    first = begin()
    desk.paint(0, 1)
    first.close(delete=False)
    with first.path.open("ab") as file:
        file.write(b"half a rec")
    (offered,) = unfinished(folder=folder)
    recovered = recover(offered.skip().path)
    second = (
        begin(resumed=(offered.skip().path, recovered.whole))
        if False
        else begin(resumed=(unfinished(folder=folder)[0].path, recovered.whole))
    )
    desk.paint(2, 2)
    second.close(delete=False)
    (offered,) = unfinished(folder=folder)
    assert not offered.skipped, "one that was taken up is offered again"
    assert taken_up(make_desk, recover(offered.path)).state == desk.state


def test_a_journal_that_begins_with_work_holds_it_all(begin, desk, make_desk):
    work(desk)
    journal = begin(start=desk.work)
    desk.undo()
    journal.close(delete=False)
    other = taken_up(make_desk, recover(journal.path))
    assert (other.state, other.steps) == (desk.state, desk.steps)


def test_a_file_that_has_grown_is_shortened_and_loses_nothing(begin, desk, make_desk, monkeypatch):
    monkeypatch.setattr(journal_module, "_GROWN", 2000)
    journal = begin()
    sizes = []
    for turn in range(150):
        desk.paint(turn % 4, 1 + turn % 2)
        desk.undo() if turn % 3 else desk.accept(SliceKey(0, turn % 4))
        desk.rename_class(5, f"kidney {turn}")
        while journal._queue.qsize() > 5:
            time.sleep(0.001)  # the disk's pace, not an order of events
        sizes.append(journal._size)
    journal.close(delete=False)
    other = taken_up(make_desk, recover(journal.path))
    assert (other.state, other.steps) == (desk.state, desk.steps)
    assert min(np.diff(sizes)) < 0, "it was never written anew"


def test_the_main_thread_does_not_wait_for_the_disk(begin, desk, monkeypatch):
    monkeypatch.setattr(journal_module.os, "fsync", lambda _number: time.sleep(0.05))
    begin()
    began = time.perf_counter()
    for turn in range(20):
        desk.paint(turn % 4, 1 + turn % 2)
    assert time.perf_counter() - began < 0.5


def test_a_full_disk_is_told_once_and_nothing_is_lost_when_it_has_room_again(
    begin, desk, make_desk, monkeypatch
):
    monkeypatch.setattr(journal_module, "_AGAIN", 0.01)
    real, full, told = os.fsync, [True], []

    def fsync(number):
        if full:
            raise OSError(28, "No space left on device")
        real(number)

    monkeypatch.setattr(journal_module.os, "fsync", fsync)
    journal = begin(failed=told.append)
    for index in range(4):
        desk.paint(index, 1)
        while not told:
            time.sleep(0.001)
    full.clear()
    desk.paint(0, 2)
    journal.close(delete=False)
    assert len(told) == 1
    assert "No space left" in told[0]
    assert taken_up(make_desk, recover(journal.path)).state == desk.state


def test_nobody_else_can_read_it_and_no_link_is_followed(begin, desk, folder, tmp_path):
    begin().close(delete=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    journal = begin()
    desk.paint(0, 1)
    journal.close(delete=False)
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    other = folder / "link"
    other.symlink_to(journal.path)
    for act in (open_private, create_private):
        with pytest.raises(OSError):  # its text is the system's
            act(other)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(folder)
    with pytest.raises(SamAdaptError, match="no folder of yours"):
        make_private_folder(elsewhere)
    folder.chmod(0o755)
    make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_where_no_folder_can_be_made_the_case_says_so(tmp_path, desk):
    (tmp_path / "file").write_text("")
    case = Case(desk.volume, tmp_path / "file" / "journals")
    assert not case.ours
    assert "No journal can be kept" in case.refused


def test_there_is_no_file_before_the_first_act_and_none_after_a_clean_end(begin, desk, folder):
    begin().close(delete=True)
    begin().close(delete=False)
    assert not list(folder.iterdir())
    journal = begin()
    desk.paint(0, 1)
    journal.close(delete=True)
    assert not list(folder.iterdir())


def test_the_second_window_on_a_case_is_told_who_has_it(begin, desk, folder):
    journal = begin()
    second = Case(desk.volume, folder)
    assert not second.ours
    assert second.holder.process == os.getpid()
    assert "since" in second.holder.told
    assert not unfinished(folder=folder)
    second.release()
    assert not Case(desk.volume, folder).ours, "the second one's end does not free it"
    journal.close(delete=False)
    assert Case(desk.volume, folder).ours


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({"born": 1.0}, True),
        ({"process": 2**22 + 1}, True),
        ({"host": "elsewhere"}, False),
        ({"host": "elsewhere", "since": 1.0}, True),
    ],
)
def test_who_died_does_not_hold_a_case(folder, desk, changes, free):
    make_private_folder(folder)
    case = case_of(desk.volume)
    CaseLock(folder, case)
    path = lock_path(folder, case)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert (CaseLock(folder, case).holder is None) is free
    path.write_text("nonsense")
    assert CaseLock(folder, case).holder is None


def test_journals_are_listed_skipped_deleted_and_purged(begin, desk, folder):
    journal = begin()
    desk.paint(0, 1)
    journal.close(delete=False)
    (folder / f"{'0' * 32}-1.journal").write_text("no journal")
    (one,) = unfinished(folder=folder)
    assert one == unfinished(one.header.case, folder)[0]
    assert not unfinished("f" * 32, folder)
    assert (one.header.name, one.skipped) == ("image", False)
    assert unfinished(folder=folder)[0].skip().skipped
    assert unfinished(folder=folder)[0].skipped
    old = time.time() - 29 * 86400
    for path in folder.iterdir():
        os.utime(path, (old, old))
    assert purge(folder=folder) == 0
    assert purge(28, folder) == 2
    assert not list(folder.iterdir())


def test_a_case_is_its_voxels_and_their_place():
    data = np.arange(24).reshape(2, 3, 4)
    same = Volume(np.asfortranarray(data), np.eye(4), Source(format="nrrd"))
    assert case_of(Volume(data, np.eye(4))) == case_of(same)
    shifted = np.eye(4)
    shifted[0, 3] = 0.1
    others = [
        Volume(data, shifted),
        Volume(data.astype(np.int32), np.eye(4)),
        Volume(data.reshape(3, 2, 4), np.eye(4)),
        Volume(data + (data == 3), np.eye(4)),
    ]
    assert len({case_of(one) for one in (same, *others)}) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(kind="run"),
        lambda content: content["change"].update(voxels=content["change"]["before"]),
        lambda content: content["change"]["after"].update(shape=[10**9]),
        lambda content: content["change"]["after"].update(type="object"),
        lambda content: content["change"]["marks_after"][0].__setitem__(0, [0, 99]),
        lambda content: content.pop("time"),
    ],
)
def test_a_record_that_does_not_fit_ends_the_journal_and_changes_nothing(begin, desk, make_desk, change):
    journal = begin()
    desk.paint(0, 1)
    journal.close(delete=False)
    state = desk.state
    acts = []
    desk.record_to(acts.append)
    desk.paint(1, 1)
    dictation = Dictation()
    dictation.act(acts[0], 0.0)
    with journal.path.open("rb") as file:
        record, _ = list(read_records(file))[-1]
    content = json.loads(json.dumps(record.content))
    change(content)
    pack = Packer()
    pack._parts = list(record._parts)
    with journal.path.open("ab") as file:
        file.write(pack.record(content))
    assert taken_up(make_desk, recover(journal.path)).state == state


def test_the_window_and_the_axis_are_kept(begin, desk, make_desk):
    journal = begin()
    desk._window, desk._axis = Window(2, 7), 2
    desk.add_class("aorta")
    journal.close(delete=False)
    other, axes = make_desk(), []
    other.axis_changed.connect(axes.append)
    other.take_up(recover(journal.path).work)
    assert (other.window, other.axis, axes) == (Window(2, 7), 2, [2])
