"""`doctor` always ends well, and says what to do about what is missing."""

import subprocess
import sys

import pytest

from napari_samadapt import doctor, system_libraries
from napari_samadapt.system_libraries import PACKAGE_OF_LIBRARY, install_line, missing_packages


def test_doctor_shows_every_part(run, monkeypatch):
    monkeypatch.setattr(doctor, "has_display", lambda: False)
    outcome = run("doctor")
    assert outcome.code == 0
    for part in (
        "Python",
        "Platform",
        "torch",
        "Device",
        "torchvision",
        "Weights of vit_b",
        "Qt binding",
        "OpenGL",
    ):
        assert part in outcome.out


def test_missing_parts_are_told_with_what_to_do(run, monkeypatch):
    monkeypatch.setattr(doctor, "missing_packages", lambda: ("libegl1", "libxcb-cursor0"))
    monkeypatch.setattr(doctor, "BINDINGS", ("NoSuchQt",))
    outcome = run("doctor")
    assert outcome.code == 0
    assert "sudo apt-get install --yes libegl1 libxcb-cursor0" in outcome.out
    assert 'pip install "napari-samadapt[all]"' in outcome.out


def test_a_failing_opengl_is_a_finding(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "no-such-platform")
    finding = doctor._opengl()
    assert finding.good is False
    assert "libgl1-mesa-dri" in finding.advice


@pytest.mark.skipif(not system_libraries.sys.platform.startswith("linux"), reason="Linux only")
def test_a_library_that_does_not_load_is_missing(monkeypatch):
    monkeypatch.setattr(system_libraries, "_loads", lambda library: library != "libEGL.so.1")
    assert missing_packages() == ("libegl1",)


def test_every_package_is_in_the_line():
    packages = tuple(sorted(PACKAGE_OF_LIBRARY.values()))
    assert install_line(packages).endswith(" ".join(packages))


@pytest.mark.parametrize("broken", ["torch", "numpy"])
def test_doctor_survives_every_missing_library(broken, tmp_path):
    code = (
        f"import sys; sys.modules[{broken!r}] = None\nfrom napari_samadapt import cli; cli.main(['doctor'])"
    )
    # In a folder without the source, so that `-c` finds what is installed.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Python" in done.stdout
    assert "Traceback" not in done.stderr
