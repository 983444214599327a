"""Downloads weights: continues where it stopped, and keeps only a file whose sha256 is the pinned one.

Written on urllib because pooch starts again from the first byte after every cut connection, which for 2.5 GB
over a hospital's network means never (docs/dependencies.md). Only https is used, through redirects too; plain
http only to this machine itself, for tests.
"""

import http.client
import os
import shutil
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

import certifi

from napari_samadapt.learning.checkpoints import Checkpoint, models_folder, sha256_of
from napari_samadapt.learning.weight_files import CheckpointError

Progress = Callable[[int, int], None]
"""Told the bytes that are there and the bytes of the whole file."""

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_PATIENCE_SECONDS = 60.0
_SLOWEST_BYTES = 1000  # a second; a server that only drips would hold us for ever
_ATTEMPTS_WITHOUT_PROGRESS = 3
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(checkpoint: Checkpoint, progress: Progress | None = None, *, url: str | None = None) -> Path:
    """The path of `checkpoint`'s file, downloaded first unless the right file is there already.

    A cut connection is taken up again where it stopped, by itself and at the next call. `url` replaces the
    checkpoint's address. Raises CheckpointError when the file cannot be had whole, with what to do; what came
    so far stays in `NAME.part`, except when it is wrong.
    """
    target = models_folder() / checkpoint.file_name
    if target.is_file() and sha256_of(target) == checkpoint.sha256:
        return target
    part = target.with_name(target.name + ".part")
    _make_room(part, checkpoint)
    _fetch_all(checkpoint, url or checkpoint.url, part, progress or (lambda done, total: None))
    _check_whole(part, checkpoint)
    part.replace(target)
    return target


def _make_room(part: Path, checkpoint: Checkpoint) -> None:
    """Create the folder, drop a `.part` that is too long, and see that the rest fits on the disk."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size(part) > checkpoint.size:
            part.unlink()
        part.open("ab").close()
    except OSError as error:
        raise CheckpointError(
            f"Weights cannot be stored in {part.parent} ({error.strerror}). "
            "Name another folder in the environment variable NAPARI_SAMADAPT_MODELS."
        ) from error
    free, needed = shutil.disk_usage(part.parent).free, checkpoint.size - _size(part)
    if needed > free:
        raise CheckpointError(
            f"{part.parent} has {free / 1e6:.0f} MB free; {checkpoint.name} needs {needed / 1e6:.0f} MB. "
            "Free some space, or name another folder in NAPARI_SAMADAPT_MODELS."
        )


def _fetch_all(checkpoint: Checkpoint, url: str, part: Path, progress: Progress) -> None:
    """Fetch until the file is whole; give up after three attempts in a row that bring nothing new."""
    attempts = 0
    while (before := _size(part)) < checkpoint.size:
        trouble = "the connection was cut"
        try:
            _fetch_rest(checkpoint, url, part, progress)
        except HTTPError as error:
            raise CheckpointError(
                f"The server refused {checkpoint.file_name} (HTTP {error.code}). Try again later, or get it "
                f"from {checkpoint.url} by other means and put it into {part.parent}."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            trouble = str(error.reason if isinstance(error, URLError) else error) or trouble
        attempts = 0 if _size(part) > before else attempts + 1
        if attempts == _ATTEMPTS_WITHOUT_PROGRESS:
            raise CheckpointError(
                f"{checkpoint.file_name} could not be downloaded ({trouble}): {_size(part)} of "
                f"{checkpoint.size} bytes are here. Check the network and run the same again; it continues "
                "where it stopped."
            )


def _fetch_rest(checkpoint: Checkpoint, url: str, part: Path, progress: Progress) -> None:
    """One request for the bytes that are missing, appended to `part`."""
    have = _size(part)
    _check_address(url)
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with closing(_opener().open(request, timeout=_TIMEOUT_SECONDS)) as response:
        continued = response.status == 206
        _check_answer(response.headers, checkpoint, have if continued else 0)
        with part.open("ab" if continued else "wb") as stream:
            _copy(response, stream, have if continued else 0, checkpoint, progress)


def _check_answer(headers: http.client.HTTPMessage, checkpoint: Checkpoint, start: int) -> None:
    """Refuse an answer that cannot be the file before any of it is stored."""
    if headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise CheckpointError(
            f"The server sent a web page instead of {checkpoint.file_name}. "
            "A proxy or a login page may stand in between; nothing was kept."
        )
    length = headers.get("Content-Length")
    if length is not None and length.isdecimal() and start + int(length) != checkpoint.size:
        raise CheckpointError(
            f"The server offers {start + int(length)} bytes as {checkpoint.file_name}, which has "
            f"{checkpoint.size}. Nothing of it was kept; try again later."
        )
    span = headers.get("Content-Range")
    if span is not None and not span.startswith(f"bytes {start}-"):
        raise CheckpointError(f"The server sent {span} where byte {start} on was asked for. Try again later.")


def _copy(
    response: http.client.HTTPResponse,
    stream: IO[bytes],
    done: int,
    checkpoint: Checkpoint,
    progress: Progress,
) -> None:
    mark, since = done, time.monotonic()
    while done < checkpoint.size and (chunk := response.read1(min(_CHUNK, checkpoint.size - done))):
        stream.write(chunk)
        done += len(chunk)
        progress(done, checkpoint.size)
        seconds = time.monotonic() - since
        if seconds > _PATIENCE_SECONDS:
            if done - mark < seconds * _SLOWEST_BYTES:
                raise CheckpointError(
                    f"{checkpoint.file_name} comes too slowly ({done} of {checkpoint.size} bytes are here). "
                    "Run the same again later; it continues where it stopped."
                )
            mark, since = done, time.monotonic()
    stream.flush()
    os.fsync(stream.fileno())


def _check_whole(part: Path, checkpoint: Checkpoint) -> None:
    found = sha256_of(part)
    if found != checkpoint.sha256:
        part.unlink()
        raise CheckpointError(
            f"The checksum of {checkpoint.file_name} differs: sha256 {found[:12]}… instead of "
            f"{checkpoint.sha256[:12]}…. The file was deleted; download it again."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise CheckpointError(
        f"Weights are only downloaded over https, not from {parts.scheme}://{parts.hostname}."
    )


class _CheckedRedirects(HTTPRedirectHandler):
    """Follows redirects, but only to addresses that we would have asked ourselves."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """Follows checked redirects; trusts the system's certificates and certifi's (some Pythons find none)."""
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=certifi.where())
    return build_opener(HTTPSHandler(context=context), _CheckedRedirects)
