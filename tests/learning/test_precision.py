"""Which devices train in bfloat16."""

import pytest
import torch

from napari_samadapt.learning.precision import autocast, multiplies_bfloat16


@pytest.mark.parametrize(
    ("device", "avx512", "amx", "fast"),
    [
        ("cuda", False, False, True),
        ("cpu", True, False, True),
        ("cpu", False, True, True),
        ("cpu", True, True, True),
        ("cpu", False, False, False),
        ("mps", True, True, False),
    ],
)
def test_bfloat16_is_for_hardware_that_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, device: str, avx512: bool, amx: bool, fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert multiplies_bfloat16(torch.device(device)) is fast


@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_computed_so(monkeypatch: pytest.MonkeyPatch, fast: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    square = torch.eye(2)
    with autocast(torch.device("cpu")):
        assert (square @ square).dtype == dtype
