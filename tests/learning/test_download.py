"""Downloads from a loopback server that lies, cuts the connection, or sends something else."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_samadapt.learning.checkpoints import Checkpoint, CheckpointError
from napari_samadapt.learning.download import download

CONTENT = bytes(range(256)) * 40
CHECKPOINT = Checkpoint(
    "toy", "https://example.org/toy.pth", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "none"
)

Answer = Callable[["Handler", int], None]
"""Answers one request that asks for the bytes from a given one on."""


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's `answer` and notes where it starts."""

    server: "LyingServer"

    def do_GET(self) -> None:
        start = int(re.sub(r"\D", "", self.headers.get("Range", "0")))
        self.server.starts.append(start)
        self.server.answer(self, start)

    def send(self, body: bytes, *, status: int = 200, claim: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if claim is None else claim))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class LyingServer(ThreadingHTTPServer):
    answer: Answer
    starts: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/toy.pth"


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[LyingServer]:
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path))
    with LyingServer(("127.0.0.1", 0), Handler) as lying:
        lying.starts = []
        thread = threading.Thread(target=lying.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield lying
        lying.shutdown()
        thread.join()


def honest(handler: Handler, start: int) -> None:
    status = 206 if start else 200
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.send(CONTENT[start:], status=status, **({"Content_Range": span} if start else {}))


def cutting(handler: Handler, start: int) -> None:
    """Sends at most 4,000 bytes of what it announces."""
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.send(
        CONTENT[start : start + 4000],
        status=206 if start else 200,
        claim=len(CONTENT) - start,
        **({"Content_Range": span} if start else {}),
    )


def deaf_to_ranges(handler: Handler, start: int) -> None:
    handler.send(CONTENT)


def wrong_bytes(handler: Handler, start: int) -> None:
    handler.send(CONTENT[::-1])


def too_short(handler: Handler, start: int) -> None:
    handler.send(CONTENT[:100])


def too_long(handler: Handler, start: int) -> None:
    handler.send(CONTENT + b"more")


def nothing(handler: Handler, start: int) -> None:
    handler.send(b"")


def page(handler: Handler, start: int) -> None:
    handler.send(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")


def silent(handler: Handler, start: int) -> None:
    handler.send(b"", claim=len(CONTENT))


def missing(handler: Handler, start: int) -> None:
    handler.send_error(404)


def elsewhere(handler: Handler, start: int) -> None:
    handler.send(b"", status=302, Location="http://example.org/toy.pth")


def other_part(handler: Handler, start: int) -> None:
    handler.send(CONTENT[start:], status=206, Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")


def dripping(handler: Handler, start: int) -> None:
    """Sends a byte now and then, for as long as anybody listens."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    try:
        for byte in CONTENT:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            threading.Event().wait(0.002)
    except OSError:
        pass


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_a_whole_file_arrives_and_is_not_fetched_twice(server, tmp_path):
    server.answer = honest
    seen: list[tuple[int, int]] = []
    path = download(CHECKPOINT, lambda done, total: seen.append((done, total)), url=server.url)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert download(CHECKPOINT, url=server.url) == path
    assert server.starts == [0]
    assert files(tmp_path) == {"toy.pth": len(CONTENT)}


def test_a_cut_connection_is_taken_up_where_it_stopped(server):
    server.answer = cutting
    assert download(CHECKPOINT, url=server.url).read_bytes() == CONTENT
    assert server.starts == [0, 4000, 8000]


def test_the_next_call_continues_an_interrupted_file(server, tmp_path):
    server.answer = honest
    (tmp_path / "toy.pth.part").write_bytes(CONTENT[:1234])
    assert download(CHECKPOINT, url=server.url).read_bytes() == CONTENT
    assert server.starts == [1234]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.answer = deaf_to_ranges
    (tmp_path / "toy.pth.part").write_bytes(b"x" * 1234)
    assert download(CHECKPOINT, url=server.url).read_bytes() == CONTENT


def test_a_wrong_file_under_the_right_name_is_replaced(server, tmp_path):
    server.answer = honest
    (tmp_path / "toy.pth").write_bytes(b"wrong")
    assert download(CHECKPOINT, url=server.url).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "words", "kept"),
    [
        (wrong_bytes, "checksum", None),
        (too_short, "offers 100 bytes", 0),
        (too_long, "offers 10244 bytes", 0),
        (nothing, "offers 0 bytes", 0),
        (page, "web page", 0),
        (silent, "continues where it stopped", 0),
        (missing, "HTTP 404", 0),
        (elsewhere, "only downloaded over https", 0),
    ],
)
def test_lies_are_refused_and_nothing_takes_the_name(server, tmp_path, answer, words, kept):
    server.answer = answer
    with pytest.raises(CheckpointError, match=words):
        download(CHECKPOINT, url=server.url)
    assert files(tmp_path) == ({} if kept is None else {"toy.pth.part": kept})


def test_another_part_than_the_one_asked_for_is_refused(server, tmp_path):
    server.answer = other_part
    (tmp_path / "toy.pth.part").write_bytes(CONTENT[:100])
    with pytest.raises(CheckpointError, match="byte 100"):
        download(CHECKPOINT, url=server.url)


def test_a_wrong_start_is_found_by_the_checksum_and_deleted(server, tmp_path):
    server.answer = honest
    (tmp_path / "toy.pth.part").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="checksum"):
        download(CHECKPOINT, url=server.url)
    assert files(tmp_path) == {}
    assert download(CHECKPOINT, url=server.url).read_bytes() == CONTENT


def test_a_server_that_only_drips_is_left(server, tmp_path, monkeypatch):
    server.answer = dripping
    monkeypatch.setattr("napari_samadapt.learning.download._PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("napari_samadapt.learning.download._SLOWEST_BYTES", 10_000)
    with pytest.raises(CheckpointError, match=r"too slowly .* continues where it stopped"):
        download(CHECKPOINT, url=server.url)
    assert 0 < files(tmp_path)["toy.pth.part"] < len(CONTENT)


def test_no_server_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="could not be downloaded"):
        download(CHECKPOINT, url="http://127.0.0.1:9/toy.pth")


@pytest.mark.parametrize(
    "url", ["http://example.org/toy.pth", "file:///etc/passwd", "ftp://example.org/toy.pth"]
)
def test_only_https_is_asked(tmp_path, monkeypatch, url):
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="https"):
        download(CHECKPOINT, url=url)


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NAPARI_SAMADAPT_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(CheckpointError, match="NAPARI_SAMADAPT_MODELS"):
        download(CHECKPOINT, url="http://127.0.0.1:9/toy.pth")
