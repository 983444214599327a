"""The command line itself: help, default command, and what it costs to start."""

import subprocess
import sys

import pytest
import typer

from napari_samadapt import __version__, cli, window
from napari_samadapt.imaging.errors import SamAdaptError

COMMANDS = ("gui", "demo", "segment", "adapt", "predict", "evaluate", "simulate", "journals", "doctor")


def test_help_names_every_command(run):
    outcome = run("--help")
    assert outcome.code == 0
    assert all(command in outcome.out for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ["--headless", "--out", "--seconds"]),
        ("segment", ["--slice", "--point", "--box", "--model", "--label", "--out"]),
        (
            "adapt",
            [
                "--slices",
                "--method",
                "--decoder",
                "--model",
                "--seconds",
                "--steps",
                "--device",
                "--seed",
                "--out",
                "--save",
                "--report",
            ],
        ),
        ("predict", ["--adapter", "--out"]),
        ("evaluate", ["--labels", "--exclude-slices", "--json"]),
        (
            "simulate",
            [
                "--labels",
                "--model",
                "--method",
                "--decoder",
                "--slices-budget",
                "--seconds-budget",
                "--no-adapt",
                "--report",
                "--choice",
                "--target",
                "--seed",
            ],
        ),
    ],
)
def test_the_spellings_that_scripts_rely_on(command, options):
    parameters = typer.main.get_command(cli.app).commands[command].params
    assert set(options) <= {spelling for parameter in parameters for spelling in parameter.opts}


def test_version(run):
    assert run("--version").out.strip() == f"napari-samadapt {__version__}"


@pytest.mark.parametrize("words", [[], ["gui"]])
def test_the_window_is_the_default(run, monkeypatch, words):
    opened = []
    monkeypatch.setattr(window, "open_gui", lambda path, choices: opened.append(path))
    assert run(*words).code == 0
    assert opened == [None]


def test_a_path_opens_the_window(run, monkeypatch, image_path):
    opened = []
    monkeypatch.setattr(window, "open_gui", lambda path, choices: opened.append((path, choices)))
    assert run(image_path).code == 0
    assert run("gui", image_path, "--choose", "transform=sform").code == 0
    assert opened == [(image_path, {}), (image_path, {"transform": "sform"})]


def test_no_display_is_said_plainly(run, monkeypatch):
    monkeypatch.setattr(window, "has_display", lambda: False)
    outcome = run("gui")
    assert outcome.code == 2
    assert "demo --headless" in outcome.err


def test_no_qt_binding_is_said_plainly(monkeypatch):
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window, "BINDINGS", ("NoSuchQt",))
    with pytest.raises(SamAdaptError, match="pip install"):
        window.open_gui(None)


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from napari_samadapt import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'napari', 'SimpleITK', 'nibabel', 'numpy', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
