"""`benchmarks/methods.py`: the choice of the rate, the table, and going on after an interruption."""

import argparse
import json
import re

import methods
import pytest

from napari_samadapt.imaging.errors import SamAdaptError


def options_for(report, **changes) -> argparse.Namespace:
    given = {
        "model": "mini",
        "seconds": 1.0,
        "device": "cpu",
        "cases": "ct,mr",
        "methods": "lora,decoder-only",
    }
    return argparse.Namespace(**{**given, "report": report, **changes})


@pytest.fixture
def made(monkeypatch) -> list[methods.Run]:
    """The runs that are made; each takes no time and is the better the nearer its rate is to 1e-3."""
    runs: list[methods.Run] = []

    def dice(run: methods.Run, _options: argparse.Namespace) -> float:
        runs.append(run)
        return 0.8 - abs(run.rate - 1e-3) * 10 + 0.01 * (run.seed % 3)

    monkeypatch.setattr(methods, "few_shot_dice", dice)
    return runs


def test_each_method_is_counted_at_its_best_rate(made, tmp_path) -> None:
    table = methods.Bench(options_for(tmp_path / "report.json")).table()
    assert re.search(r"^checkpoint [0-9a-f]{12}, seconds 1.0, ", table)
    assert "| lora | 0.001 | 0.810 ± 0.010 | 0.810 ± 0.010 | 0.810 |" in table
    assert "| decoder-only | 0.001 |" in table
    tuned = [run for run in made if run.seed == methods.TUNING_SEED]
    assert len(tuned) == 2 * (len(methods.RATES) + 1)
    assert len(made) - len(tuned) == 2 * 2 * len(methods.SEEDS)
    assert [run.method for run in tuned] != sorted(run.method for run in tuned), "the methods come one by one"


def test_the_same_command_goes_on_where_it_stopped(made, tmp_path, monkeypatch) -> None:
    report = tmp_path / "report.json"
    bench = methods.Bench(options_for(report))
    stopped = methods.few_shot_dice

    def killed(run: methods.Run, options: argparse.Namespace) -> float:
        if len(made) == 5:
            raise KeyboardInterrupt
        return stopped(run, options)

    with monkeypatch.context() as patched:
        patched.setattr(methods, "few_shot_dice", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.table()
    assert len(json.loads(report.read_text())["dice"]) == 5
    methods.Bench(options_for(report)).table()
    assert len(made) == len(set(made)) == 8 + 12


def test_a_report_of_another_setting_is_refused(made, tmp_path) -> None:
    report = tmp_path / "report.json"
    methods.Bench(options_for(report)).table()
    with pytest.raises(SamAdaptError, match="name another report"):
        methods.Bench(options_for(report, seconds=2.0))
