"""Files made to harm: nothing in them runs, and they are refused before they take memory, also when only looked at."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import safetensors.torch
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import (
    AdapterCard,
    load_adapter,
    read_adapter,
    read_card,
    save_adapter,
)
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.checkpoints import read_tensors
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import SemanticSam


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def torch_file(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def archive(records, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, content in records.items():
            made.writestr(name, content)
    return stream.getvalue()


def steps(count):
    return b"\x80\x02" + b"K\x000" * (count // 2) + b"}."


OLD = {"_use_new_zipfile_serialization": False}
HOSTILE = {
    "pickle.pth": lambda code, trace: pickle.dumps(code),
    "protocol0.pth": lambda code, trace: b"\x80\x02" + pickle.dumps(code, 0),
    "new.pth": lambda code, trace: torch_file(code),
    "old.pth": lambda code, trace: torch_file(code, **OLD),
    "module.pt": lambda code, trace: torch_file(torch.nn.Linear(2, 2)),
    "slip.pth": lambda code, trace: archive(
        {"../../evil/data.pkl": pickle.dumps(code), "../evil/version": b"3"}
    ),
    "absolute.pth": lambda code, trace: archive({str(trace): b"", "archive/data.pkl": pickle.dumps(code)}),
    "drive.pth": lambda code, trace: archive(
        {r"C:\evil\data.pkl": pickle.dumps(code), "archive/version": b"3"}
    ),
    "steps.pth": lambda code, trace: archive({"archive/data.pkl": steps(600_000), "archive/version": b"3"}),
    "steps-old.pth": lambda code, trace: steps(600_000),
    "crowded.pth": lambda code, trace: crowded(),
    "header.safetensors": lambda code, trace: struct.pack("<Q", 90 << 20) + b"{" + b" " * 200,
    "bomb.pth": lambda code, trace: archive({"archive/data.pkl": bytes(20_000_000)}, zipfile.ZIP_DEFLATED),
    "code.safetensors": lambda code, trace: pickle.dumps(code),
    "named.safetensors": lambda code, trace: torch_file(code),
}
"""Model files by name: with code in them, with paths that lead elsewhere, or with more than any model has."""


def crowded():
    """A zip file that says it has 65,535 records."""
    content = bytearray(archive({"archive/data.pkl": b"}."}))
    end = content.rfind(b"PK\x05\x06")
    content[end + 10 : end + 12] = b"\xff\xff"
    return bytes(content)


@pytest.mark.parametrize("look", [read_tensors, load_sam, read_card, read_adapter], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_runs_nothing_is_unpacked_and_little_memory_is_taken(tmp_path, look, name):
    trace = tmp_path / "trace"
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(HOSTILE[name]({"weight": Payload(trace)}, trace))
    before = psutil.Process().memory_info().rss
    with pytest.raises(SamAdaptError, match=name.split(".")[0]):
        look(path)
    assert psutil.Process().memory_info().rss - before < 200e6
    assert [file.name for file in tmp_path.rglob("*")] == ["in", name], "something was run or unpacked"


def test_too_many_keys(tmp_path):
    header = json.dumps(
        {f"k{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(300_000)}
    )
    (tmp_path / "keys.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    with pytest.raises(SamAdaptError, match="longer than that of any model"):
        read_tensors(tmp_path / "keys.safetensors")


ODD = r"sparse or quantized|holds code|damaged"


@pytest.fixture(scope="module")
def mini():
    sam = load_sam("mini")
    return {name: tensor.clone() for name, tensor in sam.state_dict().items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.to(torch.int32), "no real numbers"),
        (lambda t: t > 0, "no real numbers"),
        (lambda t: t.to(torch.complex64), "no real numbers"),
        (lambda t: t.to_sparse(), ODD),
        (lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.quint8), ODD),
        (lambda t: t * float("nan"), "NaN or infinite"),
        (lambda t: t / 0, "NaN or infinite"),
        (lambda t: t.flatten(), "another shape"),
        (lambda t: t[None], "another shape"),
        (lambda t: t[:0], "another shape"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["mask_decoder.iou_token.weight", "image_encoder.pos_embed"])
def test_tensors_that_are_not_as_they_should_be(tmp_path, mini, change, says, which):
    if which not in mini:
        pytest.skip(f"this model has no {which}")
    torch.save(mini | {which: change(mini[which])}, tmp_path / "odd.pth")
    with pytest.raises(SamAdaptError, match=says):
        load_sam(tmp_path / "odd.pth")


def test_half_precision_and_double_are_fine(tmp_path, mini):
    for dtype in (torch.float16, torch.float64):
        torch.save(
            {name: t.to(dtype) if t.is_floating_point() else t for name, t in mini.items()},
            tmp_path / "a.pth",
        )
        assert load_sam(tmp_path / "a.pth").model_type == "mini"


def card(sam, config=None, **changes):
    values = {
        "base_sha256": sam.base_sha256, "model_type": "tiny", "input_size": 64, "axis": "axial",
        "config": config or AdapterConfig("lora"), "classes": {1: "liver"}, "window": (0.0, 1.0),
    }  # fmt: skip
    return AdapterCard(**(values | changes))


def write(path, sam, **changes):
    """An adapter file whose card has some values replaced in its JSON."""
    values = json.loads(card(sam).to_json())
    for name, value in changes.items():
        if name in values:
            values[name] = value
        else:
            values["config"][name] = value
    content = safetensors.torch.save({"a": torch.zeros(1)}, {"card": json.dumps(values)})
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rank": 10**9}, "4096"),
        ({"rank": 4096}, "does not fit its own card"),
        ({"rank": True}, "rank cannot be"),
        ({"rank": "4"}, "rank cannot be"),
        ({"blocks": [10**9]}, "do not all exist"),
        ({"blocks": [-1]}, "do not all exist"),
        ({"last_blocks": 10**9}, "another version|do not all exist|4096"),
        ({"method": "conv-lora", "experts": 10**8}, "4096"),
        ({"classes": [[n, "x"] for n in range(1, 70_000)]}, "no card"),
        ({"classes": []}, "no card"),
        ({"classes": [[0, "background"]]}, "no card"),
        ({"classes": [["__import__('os')", "x"]]}, "no card"),
        ({"classes": 7}, "no card"),
        ({"window": [0, float("nan")]}, "no card"),
        ({"window": [0]}, "no card"),
        ({"input_size": 10**9}, "no card"),
        ({"input_size": "64"}, "no card"),
        ({"base_sha256": 5}, "no card"),
        ({"model_type": ["vit_b"]}, "no card"),
        ({"axis": "x" * 10_000}, "no card"),
        ({"held_out_dice": "good"}, "no card"),
        ({"config": 3}, "no card"),
        ({"unknown": 3}, "no card"),
    ],
    ids=str,
)  # fmt: skip
def test_cards_that_ask_for_what_cannot_be(tiny_sam, tmp_path, changes, says):
    path = write(tmp_path / "a.safetensors", tiny_sam, **changes)
    with pytest.raises(SamAdaptError, match=says):
        load_adapter(path, tiny_sam)
    assert not adapters.adapters_of(tiny_sam)


def test_a_card_that_is_nested_without_end(tmp_path):
    text = "[" * 200_000
    (tmp_path / "a.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {"card": text}))
    with pytest.raises(SamAdaptError, match="no card"):
        read_card(tmp_path / "a.safetensors")


def adapter_tensors(sam, config):
    adapters.insert(sam, config)
    model = SemanticSam(sam, (1,), config.decoder)
    tensors = adapters.state(model)
    adapters.remove(sam)
    return tensors


@pytest.mark.parametrize("change", [lambda t: t.to(torch.int64), lambda t: t[None], lambda t: t * np.nan])
def test_adapter_tensors_that_are_not_as_they_should_be(tiny_sam, tmp_path: Path, change):
    tensors = adapter_tensors(tiny_sam, AdapterConfig("lora"))
    name = sorted(tensors)[0]
    content = safetensors.torch.save(
        tensors | {name: change(tensors[name]).contiguous()}, {"card": card(tiny_sam).to_json()}
    )
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(SamAdaptError, match=r"no numbers|does not fit its own card"):
        load_adapter(tmp_path / "a.safetensors", tiny_sam)
    assert not adapters.adapters_of(tiny_sam)


def test_no_nan_reaches_the_disk(tiny_sam, tmp_path):
    config = AdapterConfig("lora")
    tensors = adapter_tensors(tiny_sam, config)
    tensors[sorted(tensors)[0]].fill_(float("nan"))
    with pytest.raises(SamAdaptError, match="no numbers"):
        save_adapter(
            tmp_path / "a.safetensors", AdapterState(1, config, (1,), tensors), card(tiny_sam, config)
        )
    assert list(tmp_path.iterdir()) == []
