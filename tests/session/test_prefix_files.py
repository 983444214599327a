"""Activations on disk: what was kept comes back, and nothing else."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.intensity import Window, render_slice
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.predict import encode_first_blocks
from napari_samadapt.session import live_model
from napari_samadapt.session.cache import PrefixKey
from napari_samadapt.session.live_model import LiveModel
from napari_samadapt.session.prefix_files import PrefixFiles, prefix_folder

WINDOW = Window(0.0, 1.0)


@pytest.fixture
def key(sam) -> PrefixKey:
    return PrefixKey(SliceKey(0, 2), WINDOW, sam.base_sha256, sam.input_size, 1)


@pytest.fixture
def image(volume) -> np.ndarray:
    return render_slice(volume, SliceKey(0, 2), WINDOW)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_what_was_kept_comes_back(sam, key, image, tmp_path) -> None:
    made = encode_first_blocks(sam, image, 1)
    files = PrefixFiles(tmp_path / "prefixes")
    assert files.get(key, image) is None
    files.put(key, image, made)
    found = PrefixFiles(tmp_path / "prefixes").get(key, image)
    assert found is not None
    assert torch.equal(found.prefix.tokens, made.prefix.tokens)
    assert len(found.prefix.fine) == len(made.prefix.fine)
    assert (found.depth, found.input_size, found.original_size) == (1, made.input_size, made.original_size)


def test_the_files_are_their_owners_alone(sam, key, image, tmp_path) -> None:
    files = PrefixFiles(tmp_path / "prefixes")
    files.put(key, image, encode_first_blocks(sam, image, 1))
    (path,) = entries(tmp_path / "prefixes")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "change",
    [
        {"slice": SliceKey(1, 2)}, {"window": Window(0.0, 2.0)}, {"model": "1" * 64}, {"input_size": 128},
        {"depth": 2}, {"part": (0, 8, 0, 8)},
    ],
)  # fmt: skip
def test_another_question_gets_no_answer(sam, key, image, tmp_path, change: dict[str, object]) -> None:
    """Not even where the file of the one question is put in the place of the other's."""
    files = PrefixFiles(tmp_path)
    made = encode_first_blocks(sam, image, 1)
    other = replace(key, **change)
    files.put(other, image, made)
    (wrong,) = entries(tmp_path)
    assert files.get(key, image) is None
    files.put(key, image, made)
    (right,) = set(entries(tmp_path)) - {wrong}
    wrong.replace(right)
    assert files.get(key, image) is None


def test_other_pixels_get_no_answer(sam, key, image, tmp_path) -> None:
    files = PrefixFiles(tmp_path)
    files.put(key, image, encode_first_blocks(sam, image, 1))
    assert files.get(key, np.nextafter(image, 2)) is None


@pytest.mark.parametrize("left", [0, 7, 200, -1])
def test_a_damaged_entry_is_made_again(sam, key, image, tmp_path, left: int) -> None:
    files = PrefixFiles(tmp_path)
    made = encode_first_blocks(sam, image, 1)
    files.put(key, image, made)
    (path,) = entries(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    assert files.get(key, image) is None
    files.put(key, image, made)
    assert files.get(key, image) is not None


def test_the_entries_not_used_for_longest_give_way(sam, key, image, tmp_path) -> None:
    made = encode_first_blocks(sam, image, 1)
    keys = [replace(key, slice=SliceKey(0, index)) for index in range(3)]
    files = PrefixFiles(tmp_path)
    for index, one in enumerate(keys[:2]):
        files.put(one, image, made)
        (path,) = (p for p in entries(tmp_path) if p.stat().st_mtime > 1000)
        os.utime(path, (index, index))
    assert files.get(keys[0], image) is not None
    size = entries(tmp_path)[0].stat().st_size
    PrefixFiles(tmp_path, limit=2 * size + 10).put(keys[2], image, made)
    assert [files.get(one, image) is not None for one in keys] == [True, False, True]
    files.clear()
    assert entries(tmp_path) == []


def test_the_folder_is_the_users_cache_or_named(monkeypatch, tmp_path) -> None:
    assert prefix_folder().parent == Path(os.environ["SAMADAPT_CACHE_DIR"])
    monkeypatch.delenv("SAMADAPT_CACHE_DIR")
    monkeypatch.setattr(
        "napari_samadapt.session.prefix_files.user_cache_path", lambda name, **_: tmp_path / name
    )
    assert prefix_folder() == tmp_path / "napari-samadapt" / "activations"


def test_a_disk_that_takes_nothing_is_done_without(sam, key, image, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    files = PrefixFiles(tmp_path / "file")
    files.put(key, image, encode_first_blocks(sam, image, 1))
    assert files.get(key, image) is None


def test_a_volume_opened_again_is_not_encoded_again(sam, volume, tmp_path, monkeypatch) -> None:
    counted: list[int] = []

    def counting(*given: object) -> object:
        counted.append(1)
        return encode_first_blocks(*given)

    monkeypatch.setattr(live_model, "encode_first_blocks", counting)
    found = []
    for _ in range(2):
        live = LiveModel(volume, sam, prefix_files=PrefixFiles(tmp_path))
        live.expect(AdapterConfig("lora", last_blocks=1))
        found.append(live.embed(SliceKey(0, 2), WINDOW).features)
    assert len(counted) == 1
    torch.testing.assert_close(*found)
