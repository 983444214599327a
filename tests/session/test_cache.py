import torch

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.predict import ImageEmbedding
from napari_samadapt.session.cache import EmbeddingCache, EmbeddingKey

SIZE = 100 * 4


def embedding() -> ImageEmbedding:
    return ImageEmbedding(torch.zeros(1, 1, 9, 10), (torch.zeros(1, 1, 1, 10),), (9, 10), (9, 10))


WINDOW = Window(0, 1)


def key(index: int, *, window: Window = WINDOW, model: str = "a", adapter: int = 0) -> EmbeddingKey:
    return EmbeddingKey(SliceKey(0, index), window, model, adapter)


def filled(limit: int, *indices: int) -> EmbeddingCache:
    cache = EmbeddingCache(limit)
    for index in indices:
        cache.put(key(index), embedding())
    return cache


def test_fine_features_count_too():
    assert filled(10 * SIZE, 1).nbytes == SIZE


def test_the_one_used_longest_ago_goes_first():
    cache = filled(2 * SIZE, 1, 2)
    assert cache.get(key(1)) is not None
    cache.put(key(3), embedding())
    assert [cache.get(key(i)) is not None for i in (1, 2, 3)] == [True, False, True]
    assert cache.nbytes == 2 * SIZE


def test_slices_far_from_the_screen_take_only_free_room():
    cache = filled(2 * SIZE, 1, 2)
    cache.put(key(3), embedding(), replace_others=False)
    assert [cache.get(key(i)) is not None for i in (1, 2, 3)] == [True, True, False]


def test_what_is_larger_than_the_cache_is_not_kept():
    assert len(filled(SIZE - 1, 1)) == 0


def test_everything_that_an_embedding_depends_on_tells_it_apart():
    cache = filled(10 * SIZE, 1)
    others = [key(2), key(1, window=Window(0, 2)), key(1, model="b"), key(1, adapter=1)]
    assert all(cache.get(other) is None for other in others)
    assert cache.get(EmbeddingKey(SliceKey(1, 1), Window(0, 1), "a", 0)) is None


def test_embeddings_of_older_adapters_go():
    cache = filled(10 * SIZE, 1)
    cache.put(key(1, adapter=1), embedding())
    cache.keep_only(1)
    assert cache.get(key(1)) is None
    assert cache.get(key(1, adapter=1)) is not None
    assert cache.nbytes == SIZE
