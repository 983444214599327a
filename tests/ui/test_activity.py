"""Long work in napari's activity dock."""

from types import SimpleNamespace

import pytest
from napari.utils import progress

from napari_samadapt.ui import activity
from napari_samadapt.ui.activity import Activity


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved: `clock.now` in seconds."""
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(activity, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def shown(session, clock):
    made = Activity(session)
    before = set(progress._all_instances)
    yield lambda: {bar.desc.rstrip(": "): bar.n for bar in set(progress._all_instances) - before}
    made.close()
    assert set(progress._all_instances) <= before, "no bar stays when the session ends"


def test_predicting_is_shown_in_parts_of_the_whole_four_times_a_second(session, shown, clock, capfd):
    session.refresh_progress.emit(0, 40)
    assert shown() == {"Predicting slices": 0}
    session.refresh_progress.emit(10, 40)
    assert shown() == {"Predicting slices": 0}, "within a quarter of a second nothing is drawn again"
    clock.now += 0.3
    session.refresh_progress.emit(20, 40)
    assert shown() == {"Predicting slices": 500}
    session.refresh_progress.emit(40, 40)
    assert shown() == {}
    assert "Predicting" not in capfd.readouterr().err, "the terminal is left alone"


def test_an_episode_is_shown_until_it_ends(session, shown):
    session.learning_state = "training"
    session.progress.emit(SimpleNamespace(fraction=0.1))
    assert shown() == {"Learning": 100}
    session.learning_state = "idle"
    session.learning_changed.emit("idle")
    assert shown() == {}


def test_nothing_to_predict_shows_nothing(session, shown):
    session.refresh_progress.emit(0, 0)
    assert shown() == {}
