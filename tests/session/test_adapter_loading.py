"""Adapters that are saved and loaded while other things go on."""

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import read_adapter
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.session.messages import LearningPolicy


def paint(session, index: int) -> None:
    """A stroke of class 1 on the bright block, as the window reports it."""
    rows, columns = np.mgrid[6:16, 5:14].reshape(2, -1)
    indices = (np.full(rows.shape, index), rows, columns)
    before = session.annotation[indices].copy()
    session.begin_edit(SliceKey(0, index))
    session.annotation[indices] = 1
    session.record_edit(indices, before, session.annotation[indices])


def heard(signal) -> list:
    said: list = []
    signal.connect(lambda *values: said.append(values[0] if len(values) == 1 else values))
    return said


@pytest.fixture
def learned(make_session, queue):
    """A session with one accepted axial slice and an adapter."""
    session = make_session()
    paint(session, 1)
    session.accept(SliceKey(0, 1))
    session.start_learning()
    assert queue.run_until(lambda: session.adapter_version == 1, 30)
    return session


@pytest.fixture
def adapter_file(learned, queue, tmp_path):
    saved = learned.save_adapter(tmp_path / "organs.safetensors")
    assert queue.run_until(saved.done, 30)
    return saved.result()


def test_the_card_tells_what_was_learned_from_not_what_is_seen(learned, queue, tmp_path):
    """It named the axis on screen: the command line then predicted along the wrong one."""
    learned.set_axis(1)
    saved = learned.save_adapter(tmp_path / "organs.safetensors")
    assert queue.run_until(saved.done, 30)
    _, card = read_adapter(saved.result())
    assert card.axis == "axial"


def test_a_method_that_changes_weights_is_saved_merged_into_sam(learned, sam, queue, tmp_path):
    """And the model in use keeps its adapter, which goes on being trained."""
    failures = heard(learned.failed)
    assert not learned.adapter_merges
    refused = learned.save_adapter(tmp_path / "sam.pth")
    assert queue.run_until(lambda: bool(failures), 30)
    assert "cannot be merged" in failures[0]
    assert isinstance(refused.exception(), SamAdaptError)
    learned.set_method(AdapterConfig("lora"))
    learned.set_policy(LearningPolicy(seconds=None, steps=9, enabled=False))
    learned.start_learning()
    assert queue.run_until(lambda: learned.adapter_version > 1, 30)
    assert learned.adapter_merges
    for name in ("one.pth", "two.pth"):
        saved = learned.save_adapter(tmp_path / name)
        assert queue.run_until(saved.done, 30)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pth", "two.pth"))
    assert not any("lora" in name for name in one)
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    learned.save_adapter(tmp_path / "no" / "folder.pth")
    assert queue.run_until(lambda: len(failures) == 2, 30)
    assert "was not saved" in failures[1]
    adapters.remove(sam)
    plain = sam.state_dict()
    changed = {name for name in plain if not torch.equal(plain[name], one[name])}
    assert changed
    assert all(".attn.qkv." in name for name in changed)


def test_a_file_that_is_no_adapter_leaves_the_running_episode_alone(learned, queue, tmp_path):
    learned.set_policy(LearningPolicy(seconds=None, steps=3, enabled=False))
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    failures = heard(learned.failed)
    learned.start_learning()
    applied = learned.apply_adapter(tmp_path / "bad.safetensors")
    assert queue.run_until(applied.done, 30)
    assert "damaged" in failures[0]
    assert queue.run_until(lambda: learned.adapter_version == 2, 30), "the episode was dropped"


def test_nothing_is_learned_while_an_adapter_is_loaded(learned, adapter_file, queue):
    """An episode of another method started in between, and its adapter could never be loaded again."""
    learned.set_method(AdapterConfig("decoder-only"))
    learned.set_policy(LearningPolicy(seconds=None, steps=2, enabled=True))
    applied = learned.apply_adapter(adapter_file)
    assert queue.run_until(lambda: learned._learning._loading is not None, 30)
    paint(learned, 3)
    learned.accept(SliceKey(0, 3))
    assert learned.learning_state == "idle"
    with pytest.raises(SamAdaptError, match="being loaded"):
        learned.start_learning()
    assert queue.run_until(applied.done, 30)
    assert learned.learning_state == "training", "the accepted slice is learned from afterwards"
    assert learned.config.method == "conv-lora"
    before = learned.adapter_version
    assert queue.run_until(lambda: learned.adapter_version > before, 30)


@pytest.mark.parametrize(
    ("saved", "trained"),
    [
        (AdapterConfig("decoder-only"), AdapterConfig("lora", last_blocks=1, prompts=True)),
        (AdapterConfig("decoder-only", prompts=True), AdapterConfig("decoder-only", prompts=True)),
        (AdapterConfig("vpt"), AdapterConfig("vpt")),
    ],
)
def test_the_sessions_method_goes_on_from_a_file_of_heads_alone(learned, queue, tmp_path, saved, trained):
    """A session that was saved before its first episode had ended trained nothing but the heads ever after."""
    learned.set_method(saved)
    learned.start_learning()
    before = learned.adapter_version
    assert queue.run_until(lambda: learned.adapter_version > before, 30)
    path = learned.save_adapter(tmp_path / "heads.safetensors")
    assert queue.run_until(path.done, 30)
    learned.set_method(AdapterConfig("lora", last_blocks=1, prompts=True))
    applied = learned.apply_adapter(path.result())
    assert queue.run_until(applied.done, 30)
    assert learned.config == trained
    learned.start_learning()
    before = learned.adapter_version
    assert queue.run_until(lambda: learned.adapter_version > before, 30)
    assert learned._learning.adapter.config == trained


def test_a_reset_overtakes_an_adapter_that_is_being_loaded(learned, adapter_file, queue):
    applied = learned.apply_adapter(adapter_file)
    assert queue.run_until(lambda: learned._learning._loading is not None, 30)
    learned.reset_adapter()
    assert queue.run_until(applied.done, 30)
    assert applied.cancelled()
    assert learned.adapter_version == 0


@pytest.mark.parametrize(
    ("mine", "expected", "told"),
    [
        ({1: "structure 1"}, {1: "liver", 2: "spleen", 5: "kidney"}, 0),
        ({1: "bone"}, {1: "bone", 2: "spleen", 5: "kidney"}, 1),
        ({1: "liver"}, {1: "liver", 2: "spleen", 5: "kidney"}, 0),
    ],
)
def test_the_adapters_names_are_taken_or_the_difference_is_told(
    make_session, learned, queue, tmp_path, mine, expected, told
):
    for index, class_id in ((2, 2), (3, 5)):
        paint(learned, index)
        learned.annotation[index, 18:, 3 * class_id :][:, :3] = class_id
        learned.accept(SliceKey(0, index))
    learned.start_learning()
    assert queue.run_until(lambda: learned.adapter_version == 2, 30)
    saved = learned.save_adapter(tmp_path / "organs.safetensors")
    assert queue.run_until(saved.done, 30)
    learned.close()
    session = make_session(classes=mine)
    failures = heard(session.failed)
    applied = session.apply_adapter(saved.result())
    assert queue.run_until(applied.done, 30)
    assert {shown.id: shown.name for shown in session.classes} == expected
    assert len(failures) == told, failures


def test_a_take_over_without_a_stroke_is_an_undo_step_of_its_own(learned, queue):
    queue.run_until(lambda: not learned.refreshing, 30)
    learned.begin_edit(SliceKey(0, 2))
    paint(learned, 3)
    learned.undo()
    assert learned.slice_state(SliceKey(0, 3)) == "predicted"
    assert learned.slice_state(SliceKey(0, 2)) == "edited"
    learned.undo()
    assert learned.slice_state(SliceKey(0, 2)) == "predicted"
