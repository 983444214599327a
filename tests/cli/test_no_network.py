"""No command asks for the network, unless its model is one that has to be downloaded."""

import pytest


@pytest.mark.parametrize("command", ["doctor", "journals"])
def test_looking_around(run, no_network, command):
    assert run(command).code == 0
    assert no_network == []


def test_adapting_and_predicting(run, no_network, base_model, image_path, labels_path, tmp_path):
    out, adapter = tmp_path / "out.nii.gz", tmp_path / "organs.safetensors"
    model = ("--model", base_model, "--device", "cpu")
    learned = run(
        "adapt", image_path, labels_path, *model, "--steps", 1, "--slices", "axial:1",
        "--out", out, "--save", adapter,
    )  # fmt: skip
    assert learned.code == 0, learned.err
    predicted = run("predict", image_path, "--adapter", adapter, *model, "--out", tmp_path / "again.nii.gz")
    assert predicted.code == 0, predicted.err
    assert no_network == []


def test_weights_that_are_not_here_are_asked_for(run, no_network, image_path, tmp_path, monkeypatch):
    """So the tests above can fail."""
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path))
    words = ("--slice", "axial:1", "--box", "3,3,12,14", "--model", "vit_b", "--out", tmp_path / "mask.nii")
    outcome = run("segment", image_path, *words)
    assert outcome.code == 2
    assert "dl.fbaipublicfiles.com" in " ".join(no_network)
    no_network.clear()
