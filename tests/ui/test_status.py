"""What the dock says."""

import pytest

from napari_samadapt.ui.status import LearningFacts, learning_status, volume_text


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (LearningFacts("idle", 0, 0), "slices that you accept (A)"),
        (LearningFacts("idle", 1, 1, complete=True), "Every slice is accepted: export the masks."),
        (LearningFacts("off", 0, 0), "Accept slices (A), then press Start to learn from them."),
        (LearningFacts("off", 1, 0), "1 slice accepted. Press Start to learn from it."),
        (LearningFacts("off", 2, 0), "2 slices accepted. Press Start to learn from them."),
        (LearningFacts("training", 3, 0, 12.4, 60), "Learning from 3 slices: 48 s left. Go on working."),
        (LearningFacts("training", 3, 1, 12.4, 60, 0.812), "held-out Dice 0.81"),
        (LearningFacts("paused", 3, 0, 12.4, 60), "Paused after 12 s"),
        (LearningFacts("idle", 3, 1, refreshed=(4, 30)), "4 of 30"),
        (LearningFacts("idle", 3, 1, refreshed=(30, 30)), "Learned from 3 slices"),
    ],
)
def test_learning_status(facts, words):
    assert words in learning_status(facts)


@pytest.mark.parametrize(
    ("shape", "spacing", "spatial", "text"),
    [
        ((30, 101, 122), (3.0, 3.0, 3.0), True, "ct · 122 × 101 × 30 · 3 mm"),
        ((20, 512, 512), (7.5, 0.488, 0.488), True, "ct · 512 × 512 × 20 · 0.488 × 0.488 × 7.5 mm"),
        ((1, 480, 640), (1.0, 1.0, 1.0), False, "ct · 640 × 480 · no physical size"),
    ],
)
def test_volume_text(shape, spacing, spatial, text):
    assert volume_text("ct", shape, spacing, spatial) == text


@pytest.mark.parametrize(
    ("state", "told"), [("idle", True), ("off", True), ("training", False), ("paused", False)]
)
def test_what_the_next_episode_costs_is_told_before_it(state: str, told: bool) -> None:
    text = learning_status(LearningFacts(state, 1, 1, forecast="Next episode: 60 s."))
    assert text.endswith("Next episode: 60 s.") == told
