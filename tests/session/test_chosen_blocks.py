"""How many of the blocks a session trains, from what they cost here."""

from dataclasses import replace

import pytest

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.forecast import BlockCost
from napari_samadapt.learning.sam import VitShape, build_vit
from napari_samadapt.session.messages import LearningPolicy
from napari_samadapt.session.session import Session


@pytest.mark.parametrize(
    ("given", "large", "chosen"), [(None, False, 2), (None, True, 1), (AdapterConfig(last_blocks=2), True, 2)]
)
def test_blocks_that_take_much_memory_are_trained_fewer_unless_told_which(
    volume, queue, monkeypatch, given: AdapterConfig | None, large: bool, chosen: int
) -> None:
    shape = VitShape(width=32, depth=4, heads=4, global_blocks=(1,), window=2, decoder_width=32, patch=16)
    costs = (BlockCost(1e-4, 2_500_000_000 if large else 1),) * 4
    monkeypatch.setattr("napari_samadapt.session.live_model.block_costs", lambda _sam: costs)
    session = Session(volume, build_vit(shape, 64, "tiny").requires_grad_(False), post=queue, adapter=given)
    try:
        queue.run_until(lambda: session.forecast is not None and session.config.last_blocks == chosen)
        assert session.forecast is not None
        assert (session.forecast.last_blocks, session.forecast.blocks) == (chosen, 4)
    finally:
        session.close()


@pytest.mark.parametrize(("steps", "sure"), [(9, False), (10, True)])
def test_an_episode_tells_what_the_next_one_costs(make_session, queue, steps: int, sure: bool) -> None:
    session = make_session(policy=LearningPolicy(seconds=None, steps=steps, enabled=False))
    assert queue.run_until(lambda: session.forecast is not None)
    before, progress = session.forecast, []
    session.progress.connect(progress.append)
    session.annotation[2, 6:16, 5:14] = 1
    session.accept(SliceKey(0, 2))
    session.start_learning()
    assert queue.run_until(lambda: session.learning_state != "training")
    assert progress[-1].step == steps
    expected = progress[-1].seconds / steps if sure else before.seconds
    assert session.forecast == replace(before, seconds=expected)
