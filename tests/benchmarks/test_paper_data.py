"""Folders of pictures and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from paper_data import Pair, check_objects, find_pairs, find_splits, read_pair
from PIL import Image

from napari_samadapt.imaging.errors import SamAdaptError

from .conftest import write_pictures


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SamAdaptError, match="no files"):
        find_splits(tmp_path, seed=0)
    folder = write_pictures(tmp_path / "a", 3)
    (folder / "masks" / "1.png").unlink()
    with pytest.raises(SamAdaptError, match="first: 1"):
        find_splits(folder, seed=0)
    (folder / "images" / "0.jpg").write_bytes(b"")
    with pytest.raises(SamAdaptError, match=r"0\.jpg and 0\.png, of one stem"):
        find_splits(folder, seed=0)
    write_pictures(tmp_path / "b" / "train", 3)
    with pytest.raises(SamAdaptError, match="no folder test"):
        find_splits(tmp_path / "b", seed=0)


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "some", 3)
    expected = find_pairs(folder)
    for name in (".DS_Store", "._1.png"):
        (folder / "images" / name).write_bytes(b"\0")
    assert find_pairs(folder) == expected
    (tmp_path / "none" / "images").mkdir(parents=True)
    (tmp_path / "none" / "images" / ".DS_Store").write_bytes(b"\0")
    with pytest.raises(SamAdaptError, match="no files"):
        find_pairs(tmp_path / "none")


def test_splits_of_the_folder_are_kept_and_others_do_not_overlap(tmp_path: Path) -> None:
    for name, count in (("train", 3), ("val", 2), ("test", 1)):
        write_pictures(tmp_path / "split" / name, count)
    splits = find_splits(tmp_path / "split", seed=0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [3, 2, 1]
    drawn = find_splits(write_pictures(tmp_path / "whole", 12), seed=3)
    assert [len(part) for part in (drawn.train, drawn.val, drawn.test)] == [10, 1, 1]
    assert len({*drawn.train, *drawn.val, *drawn.test}) == 12
    assert drawn == find_splits(tmp_path / "whole", seed=3)


def test_few_images_are_chosen_by_the_seed(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, 12)
    whole, few = find_splits(folder, 0), find_splits(folder, 0, shots=4)
    assert len(few.train) == 4
    assert {*few.train} < {*whole.train}
    assert (few.val, few.test) == (whole.val, whole.test)
    with pytest.raises(SamAdaptError, match="10 training images, fewer than 11"):
        find_splits(folder, 0, shots=11)


def test_the_fingerprint_tells_data_apart_but_not_where_they_lie(tmp_path: Path) -> None:
    first = find_splits(write_pictures(tmp_path / "first", 6), 0)
    assert find_splits(write_pictures(tmp_path / "moved", 6), 0).fingerprint == first.fingerprint
    assert find_splits(tmp_path / "first", 1).fingerprint != first.fingerprint
    renamed = write_pictures(tmp_path / "renamed", 6)
    for kind in ("images", "masks"):
        (renamed / kind / "5.png").rename(renamed / kind / "6.png")
    assert find_splits(renamed, 0).fingerprint != first.fingerprint
    changed = write_pictures(tmp_path / "changed", 6)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(changed / "masks" / "2.png")
    assert find_splits(changed, 0).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 127, 128, 200, 255], [0, 0, 0, 1, 1, 1]),  # as JPEG leaves a white mask
        ([0, 40, 100, 101, 150, 200], [0, 0, 0, 1, 1, 1]),  # half of its own maximum
        ([0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1]),
        ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_white_mask_is_what_lies_above_half_its_maximum(
    tmp_path: Path, values: list[int], expected: list[int], channels: int
) -> None:
    pixels = np.array(values, np.uint8).reshape(2, 3)
    if channels == 3:
        pixels = np.stack([pixels, pixels // 2, pixels // 3], -1)
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "image.png")
    _, mask = read_pair(Pair(tmp_path / "image.png", tmp_path / "mask.png"), binary=True)
    np.testing.assert_array_equal(mask.ravel(), expected)


@pytest.mark.parametrize("empty", ["train", "val", "test"])
def test_a_part_without_any_object_is_refused(tmp_path: Path, empty: str) -> None:
    for name in ("train", "val", "test"):
        write_pictures(tmp_path / name, 2)
    blank = Image.fromarray(np.zeros((48, 64), np.uint8))
    blank.save(tmp_path / empty / "masks" / "0.png")
    check_objects(find_splits(tmp_path, 0))
    blank.save(tmp_path / empty / "masks" / "1.png")
    with pytest.raises(SamAdaptError, match=f"No mask for {empty} holds an object"):
        check_objects(find_splits(tmp_path, 0))
