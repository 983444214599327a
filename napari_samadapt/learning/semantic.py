"""A SAM with an automatic decoder: every class of a slice, without a prompt."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .automatic import AutomaticDecoder
from .detail_decoder import DetailDecoder
from .predict import ImageEmbedding, encode_slice, image_tensor, resize
from .promptable_sam import Fine, Prefix, PromptableSam, scaled_size
from .query_decoder import QueryDecoder

DECODERS: Mapping[str, Callable[[PromptableSam, int], AutomaticDecoder]] = {
    "detail": DetailDecoder,
    "queries": QueryDecoder,
}
"""How each automatic decoder is built, from a SAM and the number of classes; `DECODER_TEXTS` says what they do."""


class SemanticSam(nn.Module):
    """A SAM (with or without adapters) and its automatic decoder for `class_ids`; index 0 is background.

    `decoder` is a name of `DECODERS`.
    """

    def __init__(self, sam: PromptableSam, class_ids: Iterable[int], decoder: str = "detail") -> None:
        super().__init__()
        self.sam = sam
        self.class_ids = tuple(class_ids)
        self.decoder = DECODERS[decoder](sam, len(self.class_ids)).to(sam.device)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to probabilities (B, K + 1, H, W)."""
        return self.decode(images, *self.embed(images))

    def embed(self, images: Tensor) -> tuple[Tensor, Fine]:
        """Images (B, 3, H, W) in [0, 1] to SAM's embeddings (B, C, h, w) of the padded square, and finer features."""
        return self.sam.encode_suffix(self.embed_prefix(images, 0), 0)

    def embed_prefix(self, images: Tensor, depth: int) -> Prefix:
        """The first `depth` blocks of `embed`; `sam.encode_suffix` goes on from there."""
        size = scaled_size((int(images.shape[2]), int(images.shape[3])), self.sam.input_size)
        return self.sam.encode_prefix(self.sam.normalise(resize(images, size)), depth)

    def decode(self, images: Tensor, features: Tensor, fine: Fine) -> Tensor:
        """As `forward`, with what `embed` gives already computed."""
        return self.decoder.probabilities(self.sam, images, features, fine)


@torch.no_grad()
def class_probabilities(
    model: SemanticSam, image: NDArray[np.floating], embedding: ImageEmbedding | None = None
) -> Tensor:
    """Of every class (K + 1, H, W) of a slice (H, W) in [0, 1]; `embedding` where `encode_slice` made it already."""
    known = embedding or encode_slice(model.sam, image)
    return model.decode(image_tensor(image, model.sam.device), known.features, known.fine)[0]


def likeliest_class(
    class_ids: Iterable[int], probabilities: Tensor
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Class ids (H, W) uint16, 0 for background, and their probability (H, W) float32, of (K + 1, H, W)."""
    confidence, index = probabilities.max(0)
    ids = np.array((0, *class_ids), dtype=np.uint16)
    return ids[index.cpu().numpy()], confidence.cpu().numpy()


def segment_slice(
    model: SemanticSam, image: NDArray[np.floating]
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """As `likeliest_class`, of a slice (H, W) in [0, 1] by itself."""
    return likeliest_class(model.class_ids, class_probabilities(model, image))


def uncertainty(probabilities: Tensor) -> NDArray[np.float32]:
    """How unsure each pixel (H, W) float32 of (K + 1, H, W) is: 1 - margin of the two likeliest classes, in [0, 1]."""
    likeliest = probabilities.topk(2, dim=0).values  # (2, H, W)
    return (1.0 - (likeliest[0] - likeliest[1])).clamp(0.0, 1.0).cpu().numpy()


@torch.no_grad()
def carry_decoder_over(old: SemanticSam, new: SemanticSam) -> None:
    """Start the new automatic decoder from the old one of its kind; what belongs to a class goes to its new place.

    Mask tokens that only the new one has start fresh, as new classes do.
    """
    weights = old.decoder.state_dict()
    places = {class_id: place for place, class_id in enumerate(_rows(old))}
    for name, tensor in new.decoder.state_dict().items():
        if not name.startswith(new.decoder.class_rows):
            known = min(len(tensor), len(weights[name]))
            tensor[:known] = weights[name][:known]
            continue
        for place, class_id in enumerate(_rows(new)):
            if class_id in places:
                tensor[place] = weights[name][places[class_id]]


def _rows(model: SemanticSam) -> tuple[int, ...]:
    """The class of every row of the weights that have one for each class."""
    return (0, *model.class_ids, *model.decoder.more_rows)
