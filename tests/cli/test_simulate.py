"""`simulate`: the table, the report, and what it refuses."""

import json

import numpy as np
import pytest

from .conftest import save


@pytest.fixture
def quick(base_model, image_path, labels_path) -> list[object]:
    """Words of a simulation that takes no time: a tiny SAM that does not learn."""
    words = ["simulate", image_path, labels_path, "--model", base_model, "--device", "cpu", "--no-adapt"]
    return [*words, "--seconds-budget", 10_000]


def test_it_prints_the_curve_and_writes_the_report(run, quick, tmp_path):
    report = tmp_path / "curve.json"
    outcome = run(*quick, "--target", 1, "--report", report)
    assert outcome.code == 0, outcome.err
    assert "painted pixels" in outcome.out
    values = json.loads(report.read_text())
    assert values["run"] == {"model": "tiny", "method": None, "device": "cpu"}
    assert values["settings"]["classes"] == [7, 52]
    assert values["totals"]["slices"] == 3
    assert values["totals"]["dice"] >= 0.94
    assert values["curve"][0]["dice"] == 0
    assert [point["seconds"] for point in values["curve"]] == sorted(
        point["seconds"] for point in values["curve"]
    )
    assert f"at the end {values['totals']['dice']:.3f}" in outcome.out


@pytest.mark.parametrize("choice", ["suggested", "uniform", "random"])
def test_budgets_labels_and_choices(run, quick, tmp_path, choice):
    report = tmp_path / "curve.json"
    outcome = run(*quick, "--labels", "52", "--slices-budget", 1, "--choice", choice, "--report", report)
    assert outcome.code == 0, outcome.err
    values = json.loads(report.read_text())
    assert (values["settings"]["choice"], values["settings"]["classes"]) == (choice, [52])
    assert values["totals"]["slices"] == len(values["slices"]) == 1


def test_it_learns_unless_told_otherwise(run, quick, tmp_path):
    report = tmp_path / "curve.json"
    words = [word for word in quick if word != "--no-adapt"]
    words[words.index("--seconds-budget") + 1] = 2
    outcome = run(*words, "--method", "lora", "--set", "rank=2", "--axis", "axial", "--report", report)
    assert outcome.code == 0, outcome.err
    values = json.loads(report.read_text())
    assert values["settings"]["adapts"] is True
    told = {"method": "lora", "decoder": "detail", "prompts": True}
    assert values["run"].items() >= told.items()
    assert values["run"]["options"] == {"rank": 2, "alpha": 32.0, "targets": "qkv"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--labels", "999"], "holds no label 999"),
        (["--labels", "liver"], "--labels is a list of ids"),
        (["--choice", "best"], "choice 'best'"),
        (["--target", "0"], "target of 0"),
        (["--target", "nan"], "target of nan"),
        (["--axis", "diagonal"], "no axis 'diagonal'"),
        (["--slices-budget", "0"], "--slices-budget"),
        (["--seconds-budget", "inf"], "--seconds-budget"),
        (["--method", "magic"], "magic"),
        (["--decoder", "magic"], "Unknown decoder 'magic'"),
        (["--window", "lungs"], "lungs"),
        (["--report", "curve.txt"], "must end in .json"),
        (["--report", "nowhere/curve.json"], "does not exist"),
    ],
)
def test_bad_words_are_one_sentence(run, quick, words, sentence):
    outcome = run(*quick, *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err


def test_a_reference_without_labels_is_refused(run, quick, tmp_path, labels):
    quick[2] = save(tmp_path / "empty.nii.gz", np.zeros_like(labels))
    outcome = run(*quick)
    assert outcome.code == 2
    assert "holds no label" in outcome.err
