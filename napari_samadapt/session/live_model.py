"""The SAM that answers clicks and predicts slices. Everything here runs on the predict thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, render_slice
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, load_adapter
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.predict import (
    ImageEmbedding,
    MaskPrediction,
    decode_mask,
    encode_slice,
    image_tensor,
)
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import SemanticSam

from .cache import EmbeddingCache, EmbeddingKey
from .messages import PredictRequest


class LiveModel:
    """A SAM, plain until the first adapter is published, with its automatic decoder and its embedding cache."""

    def __init__(self, volume: Volume, sam: PromptableSam, cache: EmbeddingCache | None = None) -> None:
        adapters.remove(sam)  # one that served another session starts plain
        self._volume = volume
        self._sam = sam
        self._model: SemanticSam | None = None
        self._state: AdapterState | None = None
        self.cache = cache or EmbeddingCache()

    @property
    def version(self) -> int:
        """Number of the adapter in use; 0 for the plain model, which predicts nothing by itself."""
        return self._state.version if self._state else 0

    def embed(self, key: SliceKey, window: Window, *, near: bool = True) -> ImageEmbedding:
        """The slice's embedding, from the cache or encoded now; `near` ones may replace others in the cache."""
        kept_as = EmbeddingKey(key, window, self._sam.base_sha256, self._encoder_version)
        embedding = self.cache.get(kept_as)
        if embedding is None:
            embedding = encode_slice(self._sam, render_slice(self._volume, key, window))
            self.cache.put(kept_as, embedding, replace_others=near)
        return embedding

    def mask(self, request: PredictRequest) -> MaskPrediction:
        """The mask that the prompts ask for."""
        return decode_mask(self._sam, self.embed(request.key, request.window), request.prompts)

    @torch.no_grad()
    def segment(self, key: SliceKey, window: Window, *, near: bool) -> NDArray[np.uint16]:
        """Class ids (H, W) of the whole slice, without a prompt. The embedding is the one that clicks use."""
        if self._model is None:
            raise RuntimeError("the plain model has no automatic decoder")
        features = self.embed(key, window, near=near).features
        image = image_tensor(render_slice(self._volume, key, window), self._sam.device)
        index = self._model.decode(image, features)[0].argmax(0)
        ids = np.array((0, *self._model.class_ids), np.uint16)
        return np.asarray(ids[index.cpu().numpy()], np.uint16)

    def make_twin(self, class_ids: tuple[int, ...], config: AdapterConfig, seed: int) -> SemanticSam:
        """A model to train on another thread: it shares every frozen tensor and has its own trainable ones.

        It goes on from what was learned; classes that are new start fresh.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = SemanticSam(self._sam, class_ids)
            if self._model is not None:
                carry_decoder_over(self._model, model)
            twin = adapters.twin(model)
            if self._state is None:
                adapters.insert(twin.sam, config)
        return twin

    def publish(self, state: AdapterState) -> AdapterState:
        """Predict with an adapter from now on. SamAdaptError when it does not fit; the old one stays then."""
        inserted = self._state is None
        if inserted:
            adapters.insert(self._sam, state.config)
        model = SemanticSam(self._sam, state.class_ids)
        try:
            adapters.load(model, state.tensors)
        except SamAdaptError:
            if inserted:
                adapters.remove(self._sam)
            raise
        self._model, self._state = model, state
        self.cache.keep_only(self._encoder_version)
        return state

    def reset(self) -> None:
        """Go back to the plain model."""
        adapters.remove(self._sam)
        self._model = self._state = None
        self.cache.keep_only(0)

    def read(self, path: Path, version: int) -> tuple[AdapterState, AdapterCard]:
        """Predict with the adapter of a file. SamAdaptError when it does not fit; the old one stays then."""
        kept = self._state
        self.reset()
        try:
            model, card = load_adapter(path, self._sam)
        except Exception:
            if kept is not None:
                self.publish(kept)
            raise
        self._model = model
        self._state = AdapterState(version, card.config, tuple(model.class_ids), adapters.state(model))
        self.cache.keep_only(self._encoder_version)
        return self._state, card

    @property
    def _encoder_version(self) -> int:
        """Adapter number of the embeddings; a method that leaves the encoder alone keeps those of the plain SAM."""
        return self.version if adapters.adapters_of(self._sam) else 0


@torch.no_grad()
def carry_decoder_over(old: SemanticSam, new: SemanticSam) -> None:
    """Start the new automatic decoder from the old one; the output of each class goes to its new place."""
    weights = old.decoder.state_dict()
    places = {class_id: place for place, class_id in enumerate((0, *old.class_ids))}
    for name, tensor in new.decoder.state_dict().items():
        if not name.startswith("head."):
            tensor.copy_(weights[name])
            continue
        for place, class_id in enumerate((0, *new.class_ids)):
            if class_id in places:
                tensor[place] = weights[name][places[class_id]]
