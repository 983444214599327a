"""How precisely a device computes."""

from contextlib import AbstractContextManager

import torch


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where the hardware multiplies it fast; float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device))


def multiplies_bfloat16(device: torch.device) -> bool:
    """True on CUDA, and on a CPU with instructions for products of bfloat16: AVX-512 BF16 or AMX tiles."""
    fast_cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type == "cuda" or (device.type == "cpu" and fast_cpu)
