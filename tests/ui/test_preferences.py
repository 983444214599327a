"""What napari's Preferences hold for the plugin, and what a new session makes of it."""

import threading
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_samadapt
from napari_samadapt.learning.method_texts import METHOD_TEXTS
from napari_samadapt.session.prefix_files import LIMIT, PrefixFiles
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
    before = session.config
    Preferences(learn_on_accept=False, episode_seconds=20, method="lora").apply_to(session)
    assert (session.policy.enabled, session.policy.seconds) == (False, 20.0)
    ((config,),) = session.called("set_method")
    assert config == before.of_method("lora")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An entry and half of one in the folder of activations, and a file that is none of them."""
    monkeypatch.setenv("SAMADAPT_CACHE_DIR", str(tmp_path))
    folder = tmp_path / "activations"
    folder.mkdir()
    for name in ("a.prefix", "b.part", "notes.txt"):
        (folder / name).write_text("x")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_activations_are_kept_where_the_user_wants_them(kept):
    preferred = Preferences(keep_activations=True)
    preferred.delete_unwanted()
    assert preferred.prefix_folder() == kept
    assert names(kept) == ["a.prefix", "b.part", "notes.txt"]


def test_else_they_are_deleted(kept):
    assert Preferences().prefix_folder() is None
    assert names(kept) == ["a.prefix", "b.part", "notes.txt"], "to ask is not to delete"
    Preferences().delete_unwanted()
    assert names(kept) == ["notes.txt"]


@pytest.mark.parametrize("keeps", [False, True])
def test_a_new_session_is_told(qtbot, make_dock, volume, fake_session_class, monkeypatch, kept, keeps):
    given = []
    begin = fake_session_class.__init__

    def note(self, *args, **settings):
        given.append(settings["prefix_folder"])
        begin(self, *args, **settings)

    monkeypatch.setattr(fake_session_class, "__init__", note)
    monkeypatch.setattr("napari_samadapt.ui.dock.preferences", lambda: Preferences(keep_activations=keeps))
    dock = make_dock()
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session is not None)
    assert given == [kept if keeps else None]


def test_unwanted_activations_are_deleted_while_the_window_goes_on(
    qtbot, make_dock, volume, monkeypatch, kept
):
    deleting, go_on = [], threading.Event()
    clear = PrefixFiles.clear

    def clear_held(files):
        deleting.append(threading.current_thread())
        assert go_on.wait(10)
        clear(files)

    monkeypatch.setattr(PrefixFiles, "clear", clear_held)
    dock = make_dock()
    dock.open_volume(volume)
    qtbot.waitUntil(lambda: dock.session is not None and bool(deleting))
    assert deleting != [threading.main_thread()]
    go_on.set()
    qtbot.waitUntil(lambda: names(kept) == ["notes.txt"])


def test_what_is_said_of_the_space_is_true(properties):
    assert f"{LIMIT // 2**30} GB at most" in properties["keep_activations"].description
