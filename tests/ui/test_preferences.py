"""What napari's Preferences hold for the plugin, and what a new session makes of it."""

from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_samadapt
from napari_samadapt.learning.method_texts import METHOD_TEXTS
from napari_samadapt.ui import preferences as module
from napari_samadapt.ui.preferences import Preferences, preferences

MANIFEST = Path(napari_samadapt.__file__).with_name("napari.yaml")


@pytest.fixture
def properties():
    configurations = PluginManifest.from_file(MANIFEST).contributions.configurations
    return {name: found for one in configurations.values() for name, found in one.properties.items()}


def test_the_manifest_has_the_defaults_and_methods_of_the_program(properties):
    defaults = Preferences()
    assert {name: found.default for name, found in properties.items()} == vars(defaults)
    assert list(properties["method"].enum) == list(METHOD_TEXTS)


def test_an_older_napari_has_no_such_page(monkeypatch):
    import napari.settings

    monkeypatch.delattr(napari.settings, "get_plugin_settings")
    assert preferences() == Preferences()


def test_an_unknown_plugin_gets_the_defaults(monkeypatch):
    monkeypatch.setattr(module, "PLUGIN", "no-such-plugin")
    assert preferences() == Preferences()


def test_what_was_left_at_its_default_is_not_touched(session):
    before = session.policy
    Preferences().apply_to(session)
    assert session.policy is before
    assert session.calls == []


def test_what_was_changed_is_used_by_the_session(session):
    Preferences(learn_on_accept=False, episode_seconds=20, method="lora").apply_to(session)
    assert (session.policy.enabled, session.policy.seconds) == (False, 20.0)
    ((config,),) = session.called("set_method")
    assert (config.method, config.last_blocks) == ("lora", 2)
