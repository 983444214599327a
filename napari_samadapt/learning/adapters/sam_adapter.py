"""SAM-Adapter [Chen 2023]: what the frozen blocks lose is added to the input of every block.

That is the patch embedding and the image's high frequencies, x + Up(GELU(Tune_i(F_pe + F_hfc))), with Up shared by all
blocks and Tune_i the block's own. "The image" is what the patch projection sees: the image itself in the official
models, the stem's features in `mini`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adapter import Adapter, Sites, Stack, wrap

LOW_FREQUENCIES = 0.25
"""Part of the spectrum's area, around zero, that the high-pass filter removes."""

_KEPT_BECAUSE = "what it adds depends on the image"


class PatchFeatures(Adapter):
    """The patch projection; each forward leaves `features` = F_pe + F_hfc (B, h, w, d) for the blocks to take."""

    kept_because = _KEPT_BECAUSE
    base: nn.Conv2d

    def __init__(self, base: nn.Conv2d, width: int) -> None:
        super().__init__()
        self.base = base
        self.embedding = nn.Linear(base.out_channels, width)
        self.high_pass = nn.Conv2d(base.in_channels, width, base.stride, base.stride)  # type: ignore[arg-type]
        self.features: Tensor | None = None

    def forward(self, image: Tensor) -> Tensor:
        embedded: Tensor = self.base(image)
        edges: Tensor = self.high_pass(high_frequencies(image))
        self.features = self.embedding(embedded.permute(0, 2, 3, 1)) + edges.permute(0, 2, 3, 1)
        return embedded

    def take(self) -> Tensor:
        """The features of the last forward, once."""
        if self.features is None:
            raise RuntimeError("the blocks ran before the patch embedding")
        features, self.features = self.features, None
        return features


class InformedBlocks(Stack):
    """The encoder's blocks, with the patch features added to the input of the chosen ones."""

    kept_because = _KEPT_BECAUSE

    def __init__(self, base: nn.ModuleList, sites: Sites, source: PatchFeatures, width: int) -> None:
        super().__init__()
        self.base = base
        self.source = source
        self.tune = nn.ModuleDict({str(index): nn.Linear(width, width) for index in sites.indices})
        self.up = nn.Linear(width, source.base.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        features = self.source.take()
        for index, block in enumerate(self.base):
            if str(index) in self.tune:
                x = x + self.up(F.gelu(self.tune[str(index)](features)))
            x = block(x)
        return x


@torch.no_grad()
def high_frequencies(image: Tensor) -> Tensor:
    """|image| without its lowest frequencies, (B, C, H, W): a centred quarter of the spectrum is set to zero."""
    with torch.autocast(image.device.type, enabled=False):
        spectrum = torch.fft.rfft2(image.float())
        limit = LOW_FREQUENCIES**0.5 / 2  # cycles per pixel
        low_y = torch.fft.fftfreq(image.shape[-2], device=image.device).abs() < limit
        low_x = torch.fft.rfftfreq(image.shape[-1], device=image.device) < limit
        spectrum = spectrum.masked_fill(low_y[:, None] & low_x, 0)
        edges: Tensor = torch.fft.irfft2(spectrum, s=image.shape[-2:])
        return edges.abs().to(image.dtype)


def attach_sam_adapter(sites: Sites, *, reduction: int = 16, zero_init: bool = False) -> None:
    """Width D / reduction (16 fits the count in Conv-LoRA's Table 1; the official code's default is 32).

    Truncated normal weights as in the official code, so not the frozen SAM at the start unless `zero_init`.
    """
    embedding = sites.encoder.patch_embed
    width = max(1, embedding.proj.out_channels // reduction)
    wrap(embedding, "proj", PatchFeatures, width)
    source = embedding.proj
    wrap(sites.encoder, "blocks", InformedBlocks, sites, source, width)
    stack = sites.encoder.blocks
    for layer in (source.embedding, source.high_pass, stack.up, *stack.tune.values()):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    if zero_init:
        nn.init.zeros_(stack.up.weight)
