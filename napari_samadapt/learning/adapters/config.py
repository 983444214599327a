"""`AdapterConfig`: a method by name, its options, and where they attach."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin

from napari_samadapt.imaging.errors import SamAdaptError

from ..method_texts import DECODER_TEXTS, METHOD_TEXTS
from .adapter import Sites
from .adaptformer import attach_adapter, attach_adaptformer
from .cobot import check_bottleneck
from .cobot_hosts import attach_cobot_adaptformer, attach_cobot_conv_lora, attach_cobot_lora
from .conv_experts import Interpolation
from .conv_lora import attach_conv_lora
from .ladder import attach_lst
from .lora import attach_lora, attach_lora_qv
from .sam_adapter import attach_sam_adapter
from .tuned import (
    attach_attention_tuning,
    attach_bitfit,
    attach_cobot_attention,
    attach_cobot_bitfit,
    attach_cobot_ssf,
    attach_full,
    attach_ssf,
)
from .vpt import attach_vpt


def attach_conv_lora_and_vpt(
    sites: Sites, *, rank: int = 3, alpha: float = 32.0, experts: int = 8, top_k: int = 1,
    scales: tuple[int, ...] | None = None, gated: bool = True, paper_literal: bool = False,
    interpolation: Interpolation = "bicubic", tokens: int = 5,
) -> None:  # fmt: skip
    """Conv-LoRA and VPT; 5 tokens fit the count in Conv-LoRA's Table 12."""
    attach_conv_lora(
        sites, rank=rank, alpha=alpha, experts=experts, top_k=top_k,
        scales=scales, gated=gated, paper_literal=paper_literal, interpolation=interpolation,
    )  # fmt: skip
    attach_vpt(sites, tokens=tokens)


def attach_nothing(_sites: Sites) -> None:
    """The encoder stays as it is."""


ATTACH: Mapping[str, Callable[..., None]] = {
    "conv-lora": attach_conv_lora,
    "lora": attach_lora,
    "lora-qv": attach_lora_qv,
    "cobot-lora": attach_cobot_lora,
    "cobot-adaptformer": attach_cobot_adaptformer,
    "cobot-conv-lora": attach_cobot_conv_lora,
    "cobot-bitfit": attach_cobot_bitfit,
    "cobot-ssf": attach_cobot_ssf,
    "cobot-attention": attach_cobot_attention,
    "bitfit": attach_bitfit,
    "adapter": attach_adapter,
    "adaptformer": attach_adaptformer,
    "vpt": attach_vpt,
    "lst": attach_lst,
    "sam-adapter": attach_sam_adapter,
    "ssf": attach_ssf,
    "attention-tuning": attach_attention_tuning,
    "conv-lora+vpt": attach_conv_lora_and_vpt,
    "full": attach_full,
    "decoder-only": attach_nothing,
}
"""How each method attaches. Its keyword arguments are the method's options and their defaults."""

METHODS = METHOD_TEXTS


def defaults_of(method: str) -> dict[str, Any]:
    """The options that a method has, with their defaults."""
    return {option.name: option.default for option in _options_of(method)}


def choices_of(method: str) -> dict[str, tuple[str, ...]]:
    """The words that can be chosen for those of its options that are annotated as a `Literal`."""
    kinds = {option.name: option.annotation for option in _options_of(method)}
    return {name: get_args(kind) for name, kind in kinds.items() if get_origin(kind) is Literal}


def _options_of(method: str) -> list[inspect.Parameter]:
    parameters = inspect.signature(ATTACH[method]).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


@dataclass(frozen=True)
class AdapterConfig:
    """The method and its options; an option left at None gets the method's own default.

    `blocks` are the encoder blocks that get an adapter, ascending, or `last_blocks` says how many of the last do; all
    of them where both are None, and only then layers outside the blocks take part. `decoder` names the automatic
    decoder that is trained besides; with `prompts` SAM's mask decoder is tuned too, so that prompts get better on what
    is learned. Raises SamAdaptError for an unknown method or decoder, an option that the method has not, and a value
    out of range.
    """

    method: str = "conv-lora"
    rank: int | None = None
    alpha: float | None = None
    experts: int | None = None
    blocks: tuple[int, ...] | None = None
    last_blocks: int | None = None
    top_k: int | None = None
    scales: tuple[int, ...] | None = None
    gated: bool | None = None
    paper_literal: bool | None = None
    interpolation: str | None = None
    targets: str | None = None
    preset: str | None = None
    layer: str | None = None
    relation: str | None = None
    width: int | None = None
    variant: str | None = None
    tokens: int | None = None
    reduction: int | None = None
    zero_init: bool | None = None
    neck: bool | None = None
    decoder: str = "detail"
    prompts: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SamAdaptError(f"Unknown method {self.method!r}: use one of {', '.join(METHODS)}.")
        if self.decoder not in DECODER_TEXTS:
            raise SamAdaptError(f"Unknown decoder {self.decoder!r}: use one of {', '.join(DECODER_TEXTS)}.")
        if not isinstance(self.prompts, bool):
            raise SamAdaptError(f"prompts cannot be {self.prompts!r}: use true or false.")
        defaults, choices = defaults_of(self.method), choices_of(self.method)
        for name in OPTIONS:
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, defaults.get(name))
            elif name not in defaults:
                has = f"it has {', '.join(defaults)}" if defaults else "it has none"
                raise SamAdaptError(f"{self.method} has no option {name}: {has}.")
            else:
                _check(name, value, defaults[name], choices.get(name))
        if self.blocks is not None:
            object.__setattr__(self, "blocks", _ascending(self.blocks))
        if self.last_blocks is not None:
            _check("last_blocks", self.last_blocks, 1)
            if self.blocks is not None:
                raise SamAdaptError("Both blocks and last_blocks are set: leave one of them out.")
        if self.layer == "hypercomplex":
            check_bottleneck(self.rank or self.width or 0)

    @property
    def options(self) -> dict[str, Any]:
        """The options that the method has, by name."""
        return {name: getattr(self, name) for name in defaults_of(self.method)}

    def of_method(self, method: str) -> "AdapterConfig":
        """Another method with its defaults, in the same blocks, with the same decoder and prompts."""
        return AdapterConfig(
            method,
            blocks=self.blocks,
            last_blocks=self.last_blocks,
            decoder=self.decoder,
            prompts=self.prompts,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a card; `from_dict` gives it back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_words(
        cls, method: str, settings: Sequence[str], decoder: str = "detail", *, prompts: bool = False
    ) -> "AdapterConfig":
        """The config of a method with options typed as NAME=VALUE, several numbers separated by commas.

        Raises SamAdaptError as the constructor does, and for another spelling.
        """
        cls(method, decoder=decoder)  # an unknown method is told before its options
        values: dict[str, Any] = {"prompts": prompts}
        for setting in settings:
            name, equals, text = (part.strip() for part in setting.partition("="))
            if not equals:
                raise SamAdaptError(f"{setting!r} sets nothing: write NAME=VALUE, as in rank=4.")
            if name not in (*OPTIONS, *EVERYWHERE):
                names = ", ".join((*defaults_of(method), *EVERYWHERE))
                raise SamAdaptError(f"{method} has no option {name}: it has {names}.")
            values[name] = _read(name, text)
        return cls(method, decoder=decoder, **values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AdapterConfig":
        """The config of a card. Older cards give rank, alpha and experts whether the method has them or not.

        Raises SamAdaptError as the constructor does, TypeError for what is no option at all.
        """
        method = values["method"]
        unused = {"rank", "alpha", "experts"} - set(defaults_of(method) if method in ATTACH else ())
        known = {name: _plain(value) for name, value in values.items() if name not in unused}
        return cls(**known)


EVERYWHERE = ("blocks", "last_blocks", "prompts")
"""What can be set whatever the method."""
OPTIONS = tuple(
    field.name for field in fields(AdapterConfig) if field.name not in ("method", *EVERYWHERE, "decoder")
)


SEVERAL = ("blocks", "scales")
"""What holds several numbers."""


LARGEST = 4096
"""The largest rank, width or number of parts: beyond what any model has use for, and what a file may ask for."""


def _plain(value: Any) -> Any:
    """JSON has lists where a config has tuples."""
    return tuple(value) if isinstance(value, list) else value


def _read(name: str, text: str) -> Any:
    """The value that a word stands for; the word itself where it stands for none."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if name in SEVERAL:
            return tuple(int(part) for part in text.split(","))
        return float(text) if name == "alpha" else int(text)
    except ValueError:
        return text


def _ascending(blocks: Any) -> tuple[int, ...]:
    """The blocks in order. Raises SamAdaptError unless they are different whole numbers."""
    if not (isinstance(blocks, tuple) and all(map(_is_whole, blocks)) and len({*blocks}) == len(blocks)):
        raise SamAdaptError(f"blocks cannot be {blocks!r}: use whole numbers, each once, as in 0,1,2.")
    return tuple(sorted(blocks))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return _is_whole(value) and 0 < value <= LARGEST


def _check(name: str, value: Any, default: Any, choices: tuple[str, ...] | None = None) -> None:
    """Raises SamAdaptError unless the value is one of the choices, or of the default's kind and in range."""
    if choices:
        fits, instead = value in choices, f"one of {', '.join(choices)}"
    elif isinstance(default, bool):
        fits, instead = isinstance(value, bool), "True or False"
    elif isinstance(default, str):
        fits, instead = isinstance(value, str), f"words as in {default!r}"
    elif isinstance(default, float):
        number = isinstance(value, float) or _is_whole(value)
        fits, instead = number and 0 < value < math.inf, "a number above 0"
    elif name in SEVERAL:
        fits = isinstance(value, tuple) and 0 < len(value) <= LARGEST and all(map(_is_size, value))
        instead = f"whole numbers from 1 to {LARGEST}, as in 1,2,4"
    else:
        fits, instead = _is_size(value), f"a whole number from 1 to {LARGEST}"
    if not fits:
        raise SamAdaptError(f"{name} cannot be {value!r}: use {instead}.")
