"""How many of the blocks a session trains, from what they cost here."""

import pytest

from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.forecast import BlockCost
from napari_samadapt.learning.sam import VitShape, build_vit
from napari_samadapt.session.session import Session


@pytest.mark.parametrize(
    ("given", "slow", "chosen"), [(None, False, 2), (None, True, 1), (AdapterConfig(last_blocks=2), True, 2)]
)
def test_a_slow_machine_trains_fewer_blocks_unless_told_which(
    volume, queue, monkeypatch, given: AdapterConfig | None, slow: bool, chosen: int
) -> None:
    shape = VitShape(width=32, depth=4, heads=4, global_blocks=(1,), window=2, decoder_width=32, patch=16)
    costs = (BlockCost(1.0 if slow else 1e-4, 1),) * 4
    monkeypatch.setattr("napari_samadapt.session.live_model.block_costs", lambda _sam: costs)
    session = Session(volume, build_vit(shape, 64, "tiny").requires_grad_(False), post=queue, adapter=given)
    try:
        queue.run_until(lambda: session.forecast is not None and session.config.last_blocks == chosen)
        assert session.forecast is not None
        assert (session.forecast.last_blocks, session.forecast.blocks) == (chosen, 4)
    finally:
        session.close()
