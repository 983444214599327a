"""An episode that fills the memory or meets invalid numbers goes on by itself with half as many slices at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from napari_samadapt.learning.fine_tune import FineTuneConfig

T = TypeVar("T")
_log = logging.getLogger(__name__)


def out_of_memory(error: BaseException) -> bool:
    """True where the memory of this computer or of its GPU is full; some allocators raise a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in said or "out of memory" in said)


def halved(config: FineTuneConfig) -> FineTuneConfig:
    """The same episode at half the cost: half the slices per step, and half the pool."""
    return replace(config, batch_size=config.batch_size // 2, pool_size=max(1, config.pool_size // 2))


def at_lower_cost(
    attempt: Callable[[FineTuneConfig], T], config: FineTuneConfig, start_again: Callable[[], None]
) -> T:
    """What `attempt` gives; where it fails, again from the start at half the cost, down to one slice per step.

    Raises what the last attempt did, and at once what is neither a full memory nor a FloatingPointError.
    """
    while True:
        try:
            return attempt(config)
        except Exception as error:
            curable = isinstance(error, FloatingPointError) or out_of_memory(error)
            if not curable or config.batch_size == 1:
                raise
            _log.warning(
                "%d slices per step failed (%s), half of them now", config.batch_size, type(error).__name__
            )
        start_again()  # here the failed attempt's tensors are free
        config = halved(config)
