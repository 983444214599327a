"""Reading weights files: what is a plain state dict is read, everything else is refused in plain words."""

import hashlib
import io
import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from napari_samadapt.learning.checkpoints import (
    CHECKPOINTS,
    CheckpointError,
    checkpoint_path,
    read_tensors,
    sha256_of,
)

STATE = {"encoder.weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(4)}


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def saved(value: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.pth", saved(STATE)),
        ("legacy.pth", saved(STATE, _use_new_zipfile_serialization=False)),
        ("wrapped.pth", saved({"model": STATE, "epoch": 3})),
        ("parallel.pth", saved({"state_dict": {f"module.{name}": value for name, value in STATE.items()}})),
        ("plain.safetensors", safetensors.torch.save(STATE)),
        ("unnamed.bin", safetensors.torch.save(STATE)),
    ],
)
def test_state_dicts_are_read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    tensors = read_tensors(path)
    assert sorted(tensors) == sorted(STATE)
    assert all(torch.equal(tensors[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.pth", b"", "empty"),
        ("page.pth", b"\n<!DOCTYPE html><html>Log in</html>", "web page"),
        ("noise.pth", b"\x17\x03noise" * 40, "not a weights file"),
        ("half.pth", saved(STATE)[:700], "damaged or cut short"),
        ("last-bytes.pth", saved(STATE)[:-3], "damaged or cut short"),
        ("half-legacy.pth", saved(STATE, _use_new_zipfile_serialization=False)[:200], "damaged or cut short"),
        ("half.safetensors", safetensors.torch.save(STATE)[:-5], "not a whole safetensors file"),
        ("module.pth", saved(torch.nn.Linear(2, 2)), "holds code"),
        ("list.pth", saved([1, 2]), "no named tensors"),
        ("claims.pth", saved({"huge": torch.zeros(1).expand(10**9)}), "claims 4000000000 bytes"),
        ("bomb.pth", zip_bomb(), "unpacks to 10000000 bytes"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_tensors(path)
    assert name in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="There is no weights file"):
        read_tensors(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("pack", [pickle.dumps, saved], ids=["pickle", "torch.save"])
def test_code_in_a_file_never_runs(tmp_path, pack):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    path.write_bytes(pack({"weight": Payload(trace)}))
    with pytest.raises(CheckpointError, match="holds code"):
        read_tensors(path)
    assert not trace.exists(), "reading the weights file ran the code in it"


def test_checkpoints_lie_in_the_named_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path))
    assert checkpoint_path("vit_b") == tmp_path / "sam_vit_b_01ec64.pth"
    with pytest.raises(CheckpointError, match="vit_x"):
        checkpoint_path("vit_x")


def test_pins_are_whole():
    for checkpoint in CHECKPOINTS.values():
        assert len(checkpoint.sha256) == 64
        assert int(checkpoint.sha256, 16)
        assert checkpoint.url.startswith("https://")


def test_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(("version", "safe"), [("2.5.1", False), ("2.9.1+cu128", False), ("2.10.0", True)])
def test_a_torch_that_could_run_code_reads_no_pickle(tmp_path, monkeypatch, version, safe):
    path = tmp_path / "weights.pth"
    path.write_bytes(saved({"weight": torch.ones(2)}))
    monkeypatch.setattr(torch, "__version__", version)
    if safe:
        assert set(read_tensors(path)) == {"weight"}
        return
    with pytest.raises(CheckpointError, match=re.escape(f"torch {version} could run code")):
        read_tensors(path)
