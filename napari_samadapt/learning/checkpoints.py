"""Where SAM's weights come from, and how to get and read them safely.

Nothing in a weights file runs: `torch.load` is called with `weights_only=True`, and safetensors holds no
code. Getting the files over the network is the business of `download`.
"""

import hashlib
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from platformdirs import user_cache_path
from torch import Tensor

from .weight_files import CheckpointError, check_archive, check_header, check_steps

MODELS_VARIABLE = "NAPARI_SAMADAPT_MODELS"
"""Environment variable that names another folder for downloaded weights."""

_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
_SAFE_TORCH = (2, 10)
_MOST_TENSORS = 100_000
_PICKLE = b"\x80"
_DAMAGE = (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What torch.load raises for bytes that are not what they should be."""
_WRAPPERS = ("model", "state_dict", "model_state_dict")


@dataclass(frozen=True)
class Checkpoint:
    """One file of published weights. `size` in bytes, `sha256` in lower-case hexadecimal digits."""

    name: str
    url: str
    sha256: str
    size: int
    licence: str

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            name="vit_b",
            url=_URL + "sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            size=375_042_383,
            licence="Apache-2.0",
        ),
        Checkpoint(
            name="vit_l",
            url=_URL + "sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            size=1_249_524_607,
            licence="Apache-2.0",
        ),
        Checkpoint(
            name="vit_h",
            url=_URL + "sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            size=2_564_550_879,
            licence="Apache-2.0",
        ),
    )
}
"""The weights that can be downloaded, by model name."""


def models_folder() -> Path:
    """Where downloaded weights are kept: the user's cache, or the folder in NAPARI_SAMADAPT_MODELS."""
    named = os.environ.get(MODELS_VARIABLE)
    return (
        Path(named).expanduser() if named else user_cache_path("napari-samadapt", appauthor=False) / "models"
    )


def checkpoint_path(name: str) -> Path:
    """Where the weights of `name` ("vit_b", "vit_l", "vit_h") lie once downloaded, whether or not they do.

    Raises CheckpointError for a name that is not in CHECKPOINTS.
    """
    if name not in CHECKPOINTS:
        raise CheckpointError(
            f'There are no weights to download named "{name}". Choose one of {", ".join(CHECKPOINTS)}.'
        )
    return models_folder() / CHECKPOINTS[name].file_name


def sha256_of(path: Path | str) -> str:
    """The sha256 of a file's bytes, in lower-case hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of a weights file, on the CPU: PyTorch's .pth/.pt (never its code) or .safetensors.

    A state dict inside {"model": …} or {"state_dict": …}, and names under "module." (as DataParallel saves
    them), are unwrapped. PyTorch's zip files are memory-mapped: a tensor is read when it is first used.

    Raises CheckpointError for a file that is missing, empty, truncated, a web page, holds code, or claims
    more data than it has.
    """
    path = Path(path)
    start = _first_bytes(path)
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path.name} is a web page, not weights. Delete it and download the weights again."
        )
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        tensors = _read_safetensors(path)
    else:
        zipped = start[:4] == b"PK\x03\x04"
        if not zipped and start[:1] != _PICKLE:
            raise CheckpointError(f"{path.name} is not a weights file. Use a .pth, .pt or .safetensors file.")
        tensors = _state_dict(_load_without_code(path, zipped), path)
    _check_size(tensors, path)
    return tensors


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise CheckpointError(f"There is no weights file {path}. Check the path.")
    if not path.is_file():
        raise CheckpointError(f"{path} is a folder, not a weights file. Name the file inside it.")
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read ({error.strerror}). Check its permissions."
        ) from error
    if not start:
        raise CheckpointError(f"{path.name} is empty (0 bytes). Delete it and download the weights again.")
    return start


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    check_header(path)
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is not a whole safetensors file ({error}). Get the file again."
        ) from error


def _load_without_code(path: Path, zipped: bool) -> object:
    """Unpickle tensors and plain containers only; everything else in the file is refused, never run."""
    if _torch_version() < _SAFE_TORCH:
        raise CheckpointError(
            f"torch {torch.__version__} could run code from a weights file. Install torch 2.10 or newer."
        )
    if zipped:
        check_archive(path)
    check_steps(path, zipped=zipped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols, for people who develop torch
            loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} holds code or Python objects, not only weights; it was not loaded. "
            "Use a file with a plain state dict."
        ) from error
    except _DAMAGE as error:
        raise CheckpointError(f"{path.name} is damaged or cut short. Get the weights file again.") from error
    return loaded


def _torch_version() -> tuple[int, int]:
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def _state_dict(loaded: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a loaded file by name, out of the containers that training programs put round them."""
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    named = loaded if isinstance(loaded, Mapping) else {}
    tensors = {str(name): value for name, value in named.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(
            f"{path.name} holds no named tensors. Use a file that holds a model's state dict."
        )
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _check_size(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Views on one small storage can claim any size: refuse before somebody copies them."""
    if len(tensors) > _MOST_TENSORS:
        raise CheckpointError(
            f"{path.name} holds {len(tensors)} tensors, more than any SAM has; it was not loaded."
        )
    odd = [name for name, tensor in tensors.items() if tensor.layout != torch.strided or tensor.is_quantized]
    if odd:
        raise CheckpointError(
            f"{path.name} holds sparse or quantized tensors ({odd[0][:80]}); it was not loaded."
        )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > 4 * path.stat().st_size:
        raise CheckpointError(
            f"{path.name} claims {claimed} bytes of weights, more than it holds; it was not loaded."
        )
