"""Embeddings of slices and what leads to them, so that nothing is encoded twice. Used on the predict thread only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.close_up import Part
from napari_samadapt.learning.predict import ImageEmbedding, SlicePrefix

CACHE_BYTES = 512 * 2**20
"""Of the embeddings, and as much again of the prefixes."""

K = TypeVar("K")
V = TypeVar("V", ImageEmbedding, SlicePrefix)


@dataclass(frozen=True)
class EmbeddingKey:
    """What an embedding depends on: the slice, the grey values, the base model and the encoder's adapter.

    A session has one volume, so its pixels need no place here. `adapter` is 0 while the encoder is the plain one;
    `part`: what of the slice it shows, None for all.
    """

    slice: SliceKey
    window: Window
    model: str
    adapter: int
    part: Part | None = None


@dataclass(frozen=True)
class PrefixKey:
    """What the activations before block `depth` depend on, whatever the adapters behind it."""

    slice: SliceKey
    window: Window
    model: str
    input_size: int
    depth: int
    part: Part | None = None


class SliceCache(Generic[K, V]):
    """Keeps the entries used last, up to `limit` bytes of tensors."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Memory of the entries kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._kept))

    def get(self, key: K) -> V | None:
        """The entry, or None where it has to be made."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: K, entry: V, *, replace_others: bool = True) -> None:
        """Keep an entry; without `replace_others` only where there is room left.

        Slices far from the screen are put without it: predicted last, they would push out those near it.
        """
        size = entry_bytes(entry)
        if size > self._limit or (not replace_others and self._bytes + size > self._limit):
            return
        self.drop((key,))
        while self._bytes + size > self._limit:
            self.drop((next(iter(self._kept)),))
        self._kept[key] = entry
        self._bytes += size

    def drop(self, keys: Iterable[K]) -> None:
        """Forget some entries, if they are there."""
        for key in keys:
            entry = self._kept.pop(key, None)
            if entry is not None:
                self._bytes -= entry_bytes(entry)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._bytes = 0


class EmbeddingCache(SliceCache[EmbeddingKey, ImageEmbedding]):
    """The embeddings used last."""

    def keep_only(self, adapter: int) -> None:
        """Drop the embeddings of other adapters: they are never asked for again."""
        self.drop(key for key in self if key.adapter != adapter)


def entry_bytes(entry: ImageEmbedding | SlicePrefix) -> int:
    """Memory of an entry's tensors."""
    first = entry.features if isinstance(entry, ImageEmbedding) else entry.prefix.tokens
    fine = entry.fine if isinstance(entry, ImageEmbedding) else entry.prefix.fine
    tensors: tuple[Tensor, ...] = (first, *fine)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
