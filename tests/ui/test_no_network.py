"""The ordinary journey in a real window, with the real session and `mini`, asks nothing of the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_samadapt.imaging.prompts import Prompts

WAIT = {"timeout": 60_000}


def test_from_the_dock_to_masks_and_an_adapter(
    no_network, qapp, make_napari_viewer, qtbot, scan, tmp_path, monkeypatch, told
):
    if qapp.platformName() == "offscreen":
        pytest.skip("a real window needs a display with OpenGL: run under xvfb-run")
    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-samadapt", "Segment and adapt SAM")
    dock.open_path(scan)
    qtbot.waitUntil(lambda: dock.session is not None, **WAIT)
    session, key = dock.session, dock.tools.slice_on_screen()
    session.set_policy(replace(session.policy, steps=3, seconds=None))
    drafts = []
    session.drafted.connect(drafts.append)
    session.set_prompts(key, Prompts(box=np.array([4, 5, 14, 16], np.float32)))
    qtbot.waitUntil(lambda: bool(drafts), **WAIT)
    dock.panels.slice.accepted.emit()
    qtbot.waitUntil(lambda: session.adapter_version > 0 and session.learning_state == "idle", **WAIT)
    qtbot.waitUntil(lambda: not session.refreshing, **WAIT)
    dock.companions.models.present()
    for signal, name in (
        (dock.panels.export.export_masks, "masks.nii.gz"),
        (dock.panels.export.save_adapter, "a.safetensors"),
    ):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, name=name: (str(tmp_path / name), ""))
        signal.emit()
        qtbot.waitUntil((tmp_path / name).is_file, **WAIT)
    dock.files.unsaved = False
    dock.shut_down()
    assert no_network == []
    assert [text for kind, text in told if kind == "error"] == []
