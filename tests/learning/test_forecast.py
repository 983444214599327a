"""What training will cost, told before it begins."""

import pytest
import torch

from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.forecast import BlockCost, best_forecast, block_costs, forecast
from napari_samadapt.learning.mini import build_mini

COSTS = (BlockCost(1.0, 100), BlockCost(2.0, 1000), BlockCost(1.0, 100))


@pytest.mark.parametrize(("memory", "batch"), [(7040, 4), (7039, 2), (3520, 2), (3519, 1), (1, 1)])
def test_batches_shrink_to_what_the_memory_holds(tiny_sam, memory: int, batch: int) -> None:
    assert forecast(tiny_sam, COSTS, 2, memory).batch == batch


def test_more_blocks_take_more_memory_but_are_trained_in_fewer_steps(tiny_sam) -> None:
    found = [forecast(tiny_sam, COSTS, count) for count in (1, 2, 3)]
    assert [f.last_blocks for f in found] == [1, 2, 3]
    # In the last third of an episode forwards and backwards, before it forwards for new slices; and the decoders.
    expected = [
        4 * ((1 / every + 1 / 6) * t + (4 - t) / 4 + 0.8 * 4) for every, t in ((2, 1), (3, 3), (4, 4))
    ]
    assert [f.seconds for f in found] == pytest.approx(expected)
    assert found[2].nbytes - found[0].nbytes == 4 * 1760


@pytest.mark.parametrize(
    ("seconds", "memory", "blocks"),
    [
        (None, 10**6, 2),
        (10**5, 10**6, 2),
        (10**5, 1760, 2),
        (10**5, 1759, 1),
        (10**5, 1, 1),
        (3021, 10**6, 2),
        (3019, 10**6, 1),
        (1, 10**6, 1),
    ],
)
def test_fewer_blocks_where_time_or_memory_is_short(tiny_sam, seconds, memory: int, blocks: int) -> None:
    """Half of four blocks. In the last two, four slices take 4 * (2 / 3 * 3 + 3 / 4 + 0.8 * 6) = 30.2 s."""
    costs = (BlockCost(2.0, 100), *COSTS)
    assert best_forecast(tiny_sam, costs, seconds, memory).last_blocks == blocks


def test_the_sentence_tells_steps_memory_and_blocks(tiny_sam) -> None:
    told = forecast(tiny_sam, COSTS, 2).told(600)
    assert told.startswith("Next episode: 600\N{NO-BREAK SPACE}s, ")
    assert told.endswith("\N{NO-BREAK SPACE}GB, last 2 of 3 blocks.")


def test_the_activations_of_a_block_are_counted() -> None:
    """Autograd keeps at least the inputs of the block's own layers, and nothing of the weights."""
    sam = build_mini(64).requires_grad_(False)
    costs = block_costs(sam)
    tokens = 8 * 8 * 160 * 4
    assert all(5 * tokens < cost.nbytes < 100 * tokens for cost in costs)
    assert all(cost.seconds > 0 for cost in costs)
    assert costs[0] == costs[1] != costs[2], "one of each kind is measured"


def test_blocks_are_measured_as_they_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations in bfloat16 take half the memory; the frozen weights are cast for them."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    sam = build_mini(256).requires_grad_(False)
    kept = []
    for fast in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda fast=fast: fast)
        kept.append(sum(cost.nbytes for cost in block_costs(sam)))
    assert kept[1] < 0.8 * kept[0]


@pytest.mark.parametrize(("config", "frozen"), [(AdapterConfig(), 0), (AdapterConfig(last_blocks=1), 1)])
def test_frozen_blocks_are_told_without_changing_the_model(
    tiny_sam, config: AdapterConfig, frozen: int
) -> None:
    blocks = len(tiny_sam.image_encoder.blocks)
    tokens = torch.rand(1, 3, tiny_sam.input_size, tiny_sam.input_size)
    before = tiny_sam.encode(tokens)[0]
    assert adapters.frozen_blocks(tiny_sam, config) == (blocks - 1 if frozen else 0)
    assert not adapters.adapters_of(tiny_sam)
    assert torch.equal(tiny_sam.encode(tokens)[0], before)


def test_what_was_measured_is_let_go(tiny_sam) -> None:
    """The graph of the measured pass once held itself: every session kept its activations for ever."""
    import gc

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    block_costs(tiny_sam)
    before = tensors()
    block_costs(tiny_sam)
    assert tensors() == before
