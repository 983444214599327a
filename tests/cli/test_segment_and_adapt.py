"""`segment`, `adapt` and `predict` end to end on small files, with a tiny base model."""

import json

import nibabel
import numpy as np
import pytest

from napari_samadapt import commands
from napari_samadapt.learning.method_texts import METHOD_TEXTS

from .conftest import AFFINE, SHAPE, load, save


def test_segment_writes_one_slice_on_the_image_grid(run, tmp_path, image_path, base_model):
    out = tmp_path / "mask.nii.gz"
    words = ("--slice", "axial:2", "--point", "8,9,+", "--point", "0,0,-", "--box", "3,3,12,14", "--label", 5)
    outcome = run("segment", image_path, *words, "--model", base_model, "--device", "cpu", "--out", out)
    assert outcome.code == 0, outcome.err
    mask = load(out)
    assert mask.shape == SHAPE
    assert set(np.unique(mask)) <= {0, 5}
    assert not mask[[0, 1]].any()
    np.testing.assert_array_equal(nibabel.load(out).affine, AFFINE)


@pytest.fixture
def adapt_words(image_path, labels_path, base_model):
    return ("adapt", image_path, labels_path, "--model", base_model, "--device", "cpu", "--steps", 1)


@pytest.mark.parametrize("method", METHOD_TEXTS)
def test_adapt_predicts_every_slice_and_reports(run, tmp_path, adapt_words, method):
    out, report = tmp_path / "prediction.nii.gz", tmp_path / "report.json"
    words = ("--slices", "coronal:6,7,8,9", "--method", method)
    outcome = run(*adapt_words, *words, "--out", out, "--report", report)
    assert outcome.code == 0, outcome.err
    assert load(out).shape == SHAPE
    assert set(np.unique(load(out))) <= {0, 7, 52}
    told = json.loads(report.read_text())
    assert told["steps"] == 1
    assert told["classes"] == [7, 52]
    assert told["trainable_parameters"] > 1000
    assert told["relation_log_condition"] == (
        pytest.approx(0, abs=1e-3) if method.startswith("cobot") else None
    )
    assert all(told["seconds"][part] > 0 for part in ("load", "train", "predict"))
    assert len(told["held_out_dice"]) == 1
    assert 0 <= told["held_out_dice"][0] <= 1


def test_options_of_the_method_can_be_set(run, tmp_path, adapt_words):
    from napari_samadapt.learning.adapter_file import read_adapter
    from napari_samadapt.learning.adapters import AdapterConfig

    adapter = tmp_path / "a.safetensors"
    words = (
        "--slices",
        "axial:0,2",
        "--method",
        "cobot-lora",
        "--set",
        "preset=official",
        "--set",
        "blocks=1",
    )
    outcome = run(*adapt_words, *words, "--out", tmp_path / "a.nii.gz", "--save", adapter)
    assert outcome.code == 0, outcome.err
    asked = AdapterConfig("cobot-lora", preset="official", blocks=(1,), prompts=True)
    assert read_adapter(adapter)[1].config == asked


def test_only_the_named_slices_are_learnt_from(run, tmp_path, adapt_words, labels_path, labels):
    """Garbage in every other slice changes nothing."""
    predictions = []
    for garbage in (0, 200):
        labels[1] = garbage
        nibabel.save(nibabel.Nifti1Image(labels.T, AFFINE), labels_path)
        out = tmp_path / f"prediction-{garbage}.nii.gz"
        assert run(*adapt_words, "--slices", "axial:0,2", "--method", "decoder-only", "--out", out).code == 0
        predictions.append(load(out))
    np.testing.assert_array_equal(*predictions)


def test_slices_of_another_axis(run, tmp_path, adapt_words):
    out = tmp_path / "prediction.nii.gz"
    assert run(*adapt_words, "--slices", "coronal:6,8", "--out", out).code == 0
    assert load(out).shape == SHAPE


@pytest.mark.parametrize("decoder", ["detail", "queries"])
def test_a_saved_adapter_predicts_the_same(run, tmp_path, adapt_words, image_path, base_model, decoder):
    out, adapter, again = tmp_path / "a.nii.gz", tmp_path / "a.safetensors", tmp_path / "again.nii.gz"
    report = tmp_path / "report.json"
    words = ("--slices", "axial:0,2", "--method", "lora", "--decoder", decoder, "--report", report)
    assert run(*adapt_words, *words, "--out", out, "--save", adapter).code == 0
    assert json.loads(report.read_text())["decoder"] == decoder
    outcome = run("predict", image_path, "--adapter", adapter, "--model", base_model, "--out", again)
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(load(again), load(out))


@pytest.mark.parametrize("prompts", [True, False])
def test_an_adapter_is_merged_into_a_checkpoint(run, tmp_path, adapt_words, base_model, prompts):
    import torch

    from napari_samadapt.learning import sam

    adapter, merged = tmp_path / "a.safetensors", tmp_path / "merged.pth"
    words = ("--slices", "axial:0,2", "--out", tmp_path / "a.nii.gz", "--save", adapter)
    assert run(*adapt_words, *words, "--method", "lora", "--set", f"prompts={prompts}").code == 0
    outcome = run("merge", adapter, "--model", base_model, "--out", merged)
    assert outcome.code == 0, outcome.err
    before = sam.load_sam(base_model, device="cpu", input_size=None).state_dict()
    after = torch.load(merged, weights_only=True)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    tuned = {name for name in changed if name.startswith("mask_decoder.")}
    assert bool(tuned) is prompts
    assert changed > tuned
    assert all(".attn.qkv." in name for name in changed - tuned)


def test_an_adaptformer_of_cobot_becomes_a_plain_one(run, tmp_path, adapt_words, image_path, base_model):
    out, adapter, plain, again = (
        tmp_path / name for name in ("a.nii", "a.safetensors", "b.safetensors", "b.nii")
    )
    words = ("--slices", "axial:0,2", "--method", "cobot-adaptformer", "--set", "preset=official")
    assert run(*adapt_words, *words, "--out", out, "--save", adapter).code == 0
    outcome = run("merge", adapter, "--model", base_model, "--out", plain)
    assert outcome.code == 0, outcome.err
    assert run("predict", image_path, "--adapter", plain, "--model", base_model, "--out", again).code == 0
    np.testing.assert_array_equal(load(again), load(out))


def test_what_cannot_be_merged_is_refused(run, tmp_path, adapt_words, base_model):
    adapter, merged = tmp_path / "a.safetensors", tmp_path / "merged.pth"
    words = ("--slices", "axial:0,2", "--out", tmp_path / "a.nii.gz", "--save", adapter)
    assert run(*adapt_words, *words, "--method", "conv-lora").code == 0
    merged.write_bytes(b"mine")
    for out, reason in (
        (merged, "cannot be merged"),
        (tmp_path / "merged.pt", "must end in .pth"),
        (tmp_path / "plain.safetensors", "only cobot-adaptformer does"),
        (adapter, "is also an input"),
    ):
        outcome = run("merge", adapter, "--model", base_model, "--out", out)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert reason in outcome.err
    assert merged.read_bytes() == b"mine"


def test_names_beside_the_labels_go_into_the_adapter_and_its_predictions(
    run, tmp_path, adapt_words, labels_path, image_path, base_model
):
    labels_path.with_name("labels.json").write_text('{"labels": {"7": "liver"}}')
    assert labels_path.name == "labels.nii.gz"
    adapter, again = tmp_path / "a.safetensors", tmp_path / "again.nii.gz"
    words = ("--slices", "axial:0,2", "--out", tmp_path / "a.nii.gz", "--save", adapter)
    assert run(*adapt_words, *words).code == 0
    assert run("predict", image_path, "--adapter", adapter, "--model", base_model, "--out", again).code == 0
    names = json.loads((tmp_path / "again.json").read_text())
    assert names == {"labels": {"7": "liver", "52": "structure 52"}}


def adapter_of(folder, model_type):
    """An adapter file of a base model that nobody has."""
    import torch

    from napari_samadapt.learning.adapter_file import AdapterCard, save_adapter
    from napari_samadapt.learning.adapters import AdapterConfig, AdapterState

    config = AdapterConfig("lora")
    card = AdapterCard("1" * 64, model_type, 256, config, {1: "liver"}, (0, 1), "axial")
    return save_adapter(
        folder / "other.safetensors", AdapterState(1, config, (1,), {"a": torch.ones(1)}), card
    )


@pytest.mark.parametrize(
    ("model_type", "words", "told"),
    [
        ("vit_b", (), ("for vit_b with", "published vit_b", "give --model FILE")),
        ("mini", ("--model", "vit_b"), ("for mini with", "published vit_b", "leave --model out")),
    ],
)
def test_an_adapter_of_other_weights_is_refused_before_a_download(
    run, tmp_path, image_path, monkeypatch, model_type, words, told
):
    def load(*_):
        raise AssertionError("downloads")

    monkeypatch.setattr(commands, "load_model", load)
    out = tmp_path / "out.nii.gz"
    outcome = run("predict", image_path, "--adapter", adapter_of(tmp_path, model_type), *words, "--out", out)
    assert outcome.code == 2, outcome.err
    assert all(part in outcome.err for part in told)
    assert not out.exists()


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 8, 8), (1, 1, 200)])
def test_tiny_and_thin_slices(run, tmp_path, base_model, shape):
    values = np.zeros(shape, np.uint8)
    values[..., :3] = 4
    image, labels = save(tmp_path / "i.nii.gz", values), save(tmp_path / "l.nii.gz", values)
    words = ("--model", base_model, "--device", "cpu", "--out", tmp_path / "out.nii.gz")
    outcome = run("segment", image, "--slice", "axial:0", "--point", "2,0,+", *words)
    assert outcome.code == 0, outcome.err
    outcome = run("adapt", image, labels, "--slices", "axial:0", "--steps", 6, *words)
    assert outcome.code == 0, outcome.err
    assert load(tmp_path / "out.nii.gz").shape == shape


def test_an_adapter_of_another_base_is_refused(run, tmp_path, image_path, base_model):
    """Also where the other base has the same shapes."""
    adapter = adapter_of(tmp_path, "mini")
    out = tmp_path / "out.nii.gz"
    outcome = run("predict", image_path, "--adapter", adapter, "--model", base_model, "--out", out)
    assert outcome.code == 2
    assert "mini" in outcome.err
    assert not out.exists()


def test_a_file_for_each_label(run, tmp_path, adapt_words, labels_path):
    labels_path.with_name("labels.json").write_text('{"labels": {"7": "liver"}}')
    whole, out = tmp_path / "whole.nii.gz", tmp_path / "each.nii.gz"
    words = ("--slices", "axial:0,2", "--method", "decoder-only")
    assert run(*adapt_words, *words, "--out", whole).code == 0
    assert run(*adapt_words, *words, "--out", out, "--each-label").code == 0
    assert not out.exists()
    for name, label in (("each_7_liver.nii.gz", 7), ("each_52.nii.gz", 52)):
        np.testing.assert_array_equal(load(tmp_path / name), load(whole) == label)


def test_the_names_and_the_report_are_two_files(run, tmp_path, adapt_words):
    words = ("--slices", "axial:0,2", "--out", tmp_path / "a.nii.gz", "--report", tmp_path / "a.json")
    outcome = run(*adapt_words, *words)
    assert outcome.code == 2
    assert "a.json is named for two outputs" in outcome.err


def test_a_dicom_segmentation_needs_dicom_images(run, tmp_path, adapt_words):
    outcome = run(*adapt_words, "--slices", "axial:0,2", "--out", tmp_path / "a.dcm")
    assert outcome.code == 2
    assert "opened from DICOM files" in outcome.err


def test_masks_of_another_case_are_refused_before_any_work(run, tmp_path, adapt_words):
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    outcome = run(*adapt_words, "--slices", "axial:0,2", "--out", tmp_path / "a.nii.gz")
    assert outcome.code == 2
    assert "another case" in outcome.err


@pytest.mark.parametrize("patient", [False, True])
def test_a_dicom_segmentation_of_a_series(run, tmp_path, shared_data, base_model, patient):
    import pydicom

    series, out = shared_data / "fepegar+torchio/tests/image_data/dicom", tmp_path / "mask.dcm"
    words = ("--slice", "axial:3", "--box", "20,30,70,90", "--model", base_model, "--out", out)
    outcome = run("segment", series, *words, *(["--with-patient"] if patient else []))
    assert outcome.code == 0, outcome.err
    made, image = (
        pydicom.dcmread(out),
        pydicom.dcmread(next(p for p in series.iterdir() if p.suffix == ".dcm")),
    )
    assert made.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert made.PatientID == (image.PatientID if patient else "")
