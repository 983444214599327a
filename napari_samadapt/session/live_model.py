"""The SAM that answers clicks and predicts slices. Everything here runs on the predict thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, render_slice
from napari_samadapt.imaging.prompts import anchored
from napari_samadapt.imaging.saving import plain_reason
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapter_file import AdapterCard, check_base, load_adapter, read_adapter
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.close_up import Part, cut, decode_closely
from napari_samadapt.learning.forecast import BlockCost, Forecast, best_forecast, block_costs, forecast
from napari_samadapt.learning.merging import save_merged
from napari_samadapt.learning.neighbours import Neighbours, slice_weights
from napari_samadapt.learning.predict import (
    ImageEmbedding,
    MaskPrediction,
    SlicePrefix,
    decode_mask,
    encode_first_blocks,
    encode_last_blocks,
    encode_slice,
)
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.semantic import (
    SemanticSam,
    carry_decoder_over,
    class_probabilities,
    likeliest_class,
    uncertainty,
)

from .cache import EmbeddingCache, EmbeddingKey, PrefixKey, SliceCache
from .instant import InstantFit, fit_heads
from .messages import PredictRequest, RefreshPlan
from .prefix_files import PrefixFiles
from .suggestion import doubt


class LiveModel:
    """A SAM, plain until the first adapter is published, with its automatic decoder and its embedding cache."""

    def __init__(
        self,
        volume: Volume,
        sam: PromptableSam,
        cache: EmbeddingCache | None = None,
        prefix_files: PrefixFiles | None = None,
    ) -> None:
        adapters.remove(sam)  # one that served another session starts plain
        self._volume = volume
        self._sam = sam
        self._model: SemanticSam | None = None
        self._state: AdapterState | None = None
        self._encoder_version = 0  # of the adapter that the encoder has; 0 while it is the plain one
        self.cache = cache or EmbeddingCache()
        self.prefixes: SliceCache[PrefixKey, SlicePrefix] = SliceCache()
        self._prefix_files = prefix_files
        self._costs: tuple[BlockCost, ...] | None = None
        self._around = Neighbours((1.0,), ())
        self._seen_with: tuple[int, int, SemanticSam] | None = None  # refresh, axis, model
        self._frozen = 0  # blocks before the first adapter, now and of the method that is to be trained

    @property
    def version(self) -> int:
        """Number of the adapter in use; 0 for the plain model, which predicts nothing by itself."""
        return self._state.version if self._state else 0

    def embed(
        self, key: SliceKey, window: Window, *, near: bool = True, part: Part | None = None
    ) -> ImageEmbedding:
        """The embedding of a slice or a part of it, from the cache or encoded now.

        `near` ones may replace others in the cache.
        """
        kept_as = EmbeddingKey(key, window, self._sam.base_sha256, self._encoder_version, part)
        embedding = self.cache.get(kept_as)
        if embedding is None:
            embedding = self._encode(key, window, part, near=near)
            self.cache.put(kept_as, embedding, replace_others=near)
        return embedding

    def _encode(self, key: SliceKey, window: Window, part: Part | None, *, near: bool) -> ImageEmbedding:
        """What adapters do not change is taken from the cache, or kept there."""
        sam, depth = self._sam, self._frozen
        kept_as = PrefixKey(key, window, sam.base_sha256, sam.input_size, depth, part)
        first = self.prefixes.get(kept_as)
        if first is None:
            shown = render_slice(self._volume, key, window)
            image = shown if part is None else cut(shown, part)
            if depth < 1:
                return encode_slice(sam, image)
            first = self._first_blocks(kept_as, image)
            self.prefixes.put(kept_as, first, replace_others=near)
        return encode_last_blocks(sam, first)

    def _first_blocks(self, key: PrefixKey, image: NDArray[np.float32]) -> SlicePrefix:
        """From the disk, or made now and kept there, where there is one to keep it."""
        files = self._prefix_files
        found = files.get(key, image) if files is not None else None
        if found is not None:
            return found
        made = encode_first_blocks(self._sam, image, key.depth)
        if files is not None:
            files.put(key, image, made)
        return made

    def expect(self, config: AdapterConfig) -> None:
        """A method that is to be trained: what the blocks before its first adapter give is kept from now on.

        Where it changes none the embeddings stay valid themselves.
        """
        frozen = adapters.frozen_blocks(self._sam, config)
        self._frozen = frozen if frozen < len(self._sam.image_encoder.blocks) else 0
        self.prefixes.drop(key for key in self.prefixes if key.depth != self._frozen)

    def forecast(self, config: AdapterConfig) -> Forecast:
        """What episodes of a method will cost here; takes as long as encoding a part of a slice."""
        costs = self._measured()
        frozen = adapters.frozen_blocks(self._sam, config)
        return forecast(self._sam, costs, len(costs) - max(frozen, 0))

    def best_forecast(self, seconds: float | None) -> Forecast:
        """The forecast for as many of the last blocks as an episode of so many seconds can train here."""
        return best_forecast(self._sam, self._measured(), seconds)

    def _measured(self) -> tuple[BlockCost, ...]:
        if self._costs is None:
            self._costs = block_costs(self._sam)
        return self._costs

    def mask(self, request: PredictRequest) -> MaskPrediction:
        """The mask that the prompts ask for."""
        prompts = anchored(request.prompts)
        if request.previous is not None:
            prompts = replace(prompts, mask_input=request.previous)
        key, window = request.key, request.window
        whole = self.embed(key, window)
        if request.preview:
            return decode_mask(self._sam, whole, prompts)
        return decode_closely(self._sam, whole, prompts, lambda part: self.embed(key, window, part=part))

    @property
    def reach(self) -> int:
        """How many slices away a neighbour still counts in `said`."""
        return self._around.reach

    def look(self, key: SliceKey, plan: RefreshPlan, *, near: bool) -> None:
        """See what the automatic decoder says of a slice of a plan. The embedding is the one that clicks use."""
        if self._model is None:
            raise RuntimeError("the plain model has no automatic decoder")
        if self._seen_with != (plan.epoch, key.axis, self._model):
            self._seen_with = plan.epoch, key.axis, self._model
            ids = self._model.class_ids
            self._around = Neighbours(slice_weights(self._volume, key.axis, len(ids)), ids)
        self._around.given = plan.given
        self._around.put(key.index, self._probabilities(key, plan.window, near=near))

    def has_seen(self, key: SliceKey) -> bool:
        """Whether `said` can be asked."""
        return self._seen_with is not None and self._seen_with[1] == key.axis and key.index in self._around

    def knows_around(self, key: SliceKey) -> bool:
        """Whether all the slices that were looked at around one that was count in `said`."""
        return self._around.knows_around(key.index)

    def said(self, key: SliceKey) -> tuple[NDArray[np.uint16], float]:
        """Class ids (H, W) of a slice that was looked at, by it and its neighbours, and the doubt of them in [0, 1]."""
        assert self._model is not None
        labels, confidence = likeliest_class(self._model.class_ids, self._around.mixed(key.index))
        return labels, doubt(labels, confidence)

    def uncertainty(self, key: SliceKey, window: Window) -> NDArray[np.float32] | None:
        """How unsure the automatic decoder is of each pixel (H, W) of a slice; None while there is none.

        With the slice's neighbours where they are at hand, as the prediction that is shown.
        """
        if self._model is None:
            return None
        if self.has_seen(key):
            return uncertainty(self._around.mixed(key.index))
        return uncertainty(self._probabilities(key, window, near=True))

    def _probabilities(self, key: SliceKey, window: Window, *, near: bool) -> Tensor:
        assert self._model is not None
        image, embedding = render_slice(self._volume, key, window), self.embed(key, window, near=near)
        return class_probabilities(self._model, image, embedding)

    def make_twin(self, class_ids: tuple[int, ...], config: AdapterConfig, seed: int) -> SemanticSam:
        """A model to train on another thread: it shares every frozen tensor and has its own trainable ones.

        It goes on from what was learned; classes that are new start fresh.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = SemanticSam(self._sam, class_ids, config.decoder)
            if self._model is not None:
                carry_decoder_over(self._model, model)
            twin = adapters.twin(model)
            if self._state is None or self._state.config != config:
                adapters.insert(twin.sam, config)
        return twin

    def fit(self, asked: InstantFit) -> AdapterState | None:
        """Predict with heads fitted to accepted slices from now on; None where what is in use is to stay.

        Until an episode has trained an adapter the encoder is left alone: the result is of the method "decoder-only".
        """
        config = (
            self._state.config if self._state else AdapterConfig("decoder-only", decoder=asked.config.decoder)
        )
        model = SemanticSam(self._sam, asked.class_ids, config.decoder)
        if not model.decoder.settles:
            return None
        if self._model is not None:
            carry_decoder_over(self._model, model)
        embeddings = [self.embed(sample.key, asked.window) for sample in asked.samples]
        if not fit_heads(model, asked, embeddings, serving=self._state is not None):
            return None
        self._model = model
        self._state = AdapterState(asked.version, config, asked.class_ids, adapters.state(model))
        return self._state

    def publish(self, state: AdapterState) -> AdapterState:
        """Predict with an adapter from now on. SamAdaptError when it does not fit; the old one stays then."""
        kept = self._state
        other = kept is None or kept.config != state.config
        if other:
            self._put_in(state.config)
        model = SemanticSam(self._sam, state.class_ids, state.config.decoder)
        try:
            adapters.load(model, state.tensors)
        except SamAdaptError:
            if other:
                self._put_in(kept.config if kept else None)
            if kept is not None and self._model is not None:
                adapters.load(self._model, kept.tensors)
            raise
        self._use(model, state)
        return state

    def save_merged(self, path: Path) -> Path:
        """Write SAM with the adapter in use merged into its weights; raises as `merging.save_merged` does."""
        with plain_reason(path):
            save_merged(path, self._sam)
        return path

    def _put_in(self, config: AdapterConfig | None) -> None:
        """Fresh adapters of a method, or none, instead of those there are."""
        adapters.remove(self._sam)
        if config is not None:
            adapters.insert(self._sam, config)
            self._frozen = min(self._frozen, adapters.first_changed_block(self._sam))

    def _use(self, model: SemanticSam | None, state: AdapterState | None) -> None:
        """A method that leaves the encoder alone keeps the embeddings of the plain SAM."""
        self._model, self._state = model, state
        self._around, self._seen_with = Neighbours((1.0,), ()), None
        self._encoder_version = state.version if state and adapters.change_embeddings(self._sam) else 0
        self.cache.keep_only(self._encoder_version)

    def reset(self) -> None:
        """Go back to the plain model."""
        adapters.remove(self._sam)
        self._use(None, None)

    def go_back(self, state: AdapterState) -> AdapterState:
        """Predict again with an adapter that did before; it may be of another method than the one in use."""
        self.reset()
        return self.publish(state)

    def check(self, path: Path) -> None:
        """SamAdaptError when the file is no adapter for this base model; nothing is changed."""
        _, card = read_adapter(path)
        check_base(path, card, self._sam)

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
        state = AdapterState(version, card.config, tuple(model.class_ids), adapters.state(model))
        self._use(model, state)
        self.expect(card.config)
        return state, card
