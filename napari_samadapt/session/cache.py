"""Embeddings of slices, so that nothing is encoded twice; capped in memory. Used on the predict thread only."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.close_up import Part
from napari_samadapt.learning.predict import ImageEmbedding

CACHE_BYTES = 512 * 2**20


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


class EmbeddingCache:
    """Keeps the embeddings used last, up to `limit` bytes."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[EmbeddingKey, ImageEmbedding] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Memory of the embeddings kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: EmbeddingKey) -> ImageEmbedding | None:
        """The embedding, or None where it has to be made."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: EmbeddingKey, embedding: ImageEmbedding, *, replace_others: bool = True) -> None:
        """Keep an embedding; without `replace_others` only where there is room left.

        Slices far from the screen are put without it: predicted last, they would push out those near it.
        """
        size = embedding_bytes(embedding)
        if size > self._limit or (not replace_others and self._bytes + size > self._limit):
            return
        self._drop(key)
        while self._bytes + size > self._limit:
            self._drop(next(iter(self._kept)))
        self._kept[key] = embedding
        self._bytes += size

    def keep_only(self, adapter: int) -> None:
        """Drop the embeddings of other adapters: they are never asked for again."""
        for key in [key for key in self._kept if key.adapter != adapter]:
            self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._bytes = 0

    def _drop(self, key: EmbeddingKey) -> None:
        embedding = self._kept.pop(key, None)
        if embedding is not None:
            self._bytes -= embedding_bytes(embedding)


def embedding_bytes(embedding: ImageEmbedding) -> int:
    """Memory of an embedding's tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (embedding.features, *embedding.fine))
