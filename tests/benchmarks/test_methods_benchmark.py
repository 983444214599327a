"""`benchmarks/methods.py`: the choice of the rate, the table, and going on after an interruption."""

import argparse
import json
import re

import methods
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.adapters import AdapterConfig

SETTING = r"^checkpoint [0-9a-f]{12}, device cpu, adapters from 0.5, slices in a step 4, new in every 4, "


def options_for(report, **changes) -> argparse.Namespace:
    given = {
        "model": "mini",
        "seconds": 1.0,
        "steps": None,
        "adapters_from": 0.5,
        "batch_size": 4,
        "augment_every": 4,
        "rates": "0.0003,0.001,0.003",
        "seeds": "0,1,2",
        "device": "cpu",
        "cases": "ct,mr",
        "methods": "lora,decoder-only",
    }
    return argparse.Namespace(**{**given, "report": report, **changes})


@pytest.fixture
def made(monkeypatch) -> list[methods.Run]:
    """The runs that are made; each takes no time and is the better the nearer its rate is to 1e-3."""
    runs: list[methods.Run] = []

    def outcome(run: methods.Run, _options: argparse.Namespace) -> methods.Outcome:
        runs.append(run)
        dice = 0.8 - abs(run.rate - 1e-3) * 10 + 0.01 * (run.seed % 3)
        return methods.Outcome(dice, dice + 0.1, 40 + run.seed)

    monkeypatch.setattr(methods, "few_shot", outcome)
    return runs


def test_each_method_is_counted_at_its_best_rate(made, tmp_path) -> None:
    table = methods.Bench(options_for(tmp_path / "report.json")).table()
    assert re.search(
        r"^checkpoint [0-9a-f]{12}, device cpu, adapters from 0.5, slices in a step 4, new in every 4, seconds 1.0\n",
        table,
    )
    assert "| lora | 0.001 | 0.810 ± 0.010 | 0.810 ± 0.010 | 0.810 | 0.910 | 41 |" in table
    assert "| decoder-only | 0.001 |" in table
    tuned = [run for run in made if run.seed == methods.TUNING_SEED]
    assert len(tuned) == 2 * (len(methods.RATES) + 1)
    assert len(made) - len(tuned) == 2 * 2 * len(methods.SEEDS)
    assert [run.method for run in tuned] != sorted(run.method for run in tuned), "the methods come one by one"


def test_the_same_command_goes_on_where_it_stopped(made, tmp_path, monkeypatch) -> None:
    report = tmp_path / "report.json"
    bench = methods.Bench(options_for(report))
    stopped = methods.few_shot

    def killed(run: methods.Run, options: argparse.Namespace) -> methods.Outcome:
        if len(made) == 5:
            raise KeyboardInterrupt
        return stopped(run, options)

    with monkeypatch.context() as patched:
        patched.setattr(methods, "few_shot", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.table()
    assert len(json.loads(report.read_text())["made"]) == 5
    methods.Bench(options_for(report)).table()
    assert len(made) == len(set(made)) == 8 + 12


def test_a_report_of_another_setting_is_refused(made, tmp_path) -> None:
    report = tmp_path / "report.json"
    methods.Bench(options_for(report)).table()
    with pytest.raises(SamAdaptError, match="name another report"):
        methods.Bench(options_for(report, seconds=2.0))


def test_as_many_steps_of_one_rate_and_options_of_a_method(made, tmp_path) -> None:
    method = "conv-lora:rank=8:last_blocks=2:decoder=queries"
    asked = {"methods": method, "steps": 300, "rates": "0.001", "seeds": "5"}
    table = methods.Bench(options_for(tmp_path / "report.json", **asked)).table()
    assert re.search(
        r"^checkpoint [0-9a-f]{12}, device cpu, adapters from 0.5, slices in a step 4, new in every 4, steps 300\n",
        table,
    )
    assert f"| {method} | 0.001 | 0.820 | 0.820 | 0.820 | 0.920 | 45 |" in table
    assert [run.seed for run in made] == [5, 5], "one rate needs no trial"
    adapter = methods.adapter_of(made[0].method)
    assert adapter == AdapterConfig("conv-lora", rank=8, last_blocks=2, decoder="queries")
