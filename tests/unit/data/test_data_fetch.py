"""fetch against an HTTP server on loopback: what can go wrong is said, and nothing half-written stays."""

from __future__ import annotations

import gc
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hvd_train.data import download as fetching
from hvd_train.data.download import SONGS, Source, fetch
from hvd_train.errors import DataError

# requests leaves the socket of a broken connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

TEXT = b"".join(b"%d,%d.5\n" % (1990 + i % 20, i) for i in range(60_000))


def zipped(content: bytes, name: str = "YearPredictionMSD.txt") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


GOOD = zipped(TEXT)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collects such sockets in the test that left them, and looks at nothing that was there before."""
    gc.freeze()
    yield
    gc.collect()
    gc.unfreeze()


class Handler(BaseHTTPRequestHandler):
    """/good, /wrong, /missing, /broken; /flaky is broken the first time."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        body = zipped(TEXT + b"1990,1\n") if self.path == "/wrong" else GOOD
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        broken = self.path == "/broken" or (self.path == "/flaky" and self.requests.count("/flaky") == 1)
        self.wfile.write(body[: len(body) // 2] if broken else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    requests: list[str] = []
    handler = type("OneHandler", (Handler,), {"requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", requests
        running.shutdown()
        thread.join()


def source(*urls: str, archive: bytes = GOOD, text: bytes = TEXT) -> Source:
    hashes = (hashlib.sha256(archive).hexdigest(), hashlib.sha256(text).hexdigest())
    return Source("YearPredictionMSD.txt", urls, *hashes, len(text))


def contents(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.suffix != ".lock"}


def test_downloads_with_progress_and_only_once(server: tuple[str, list[str]], tmp_path: Path) -> None:
    url, requests = server
    done: list[tuple[int, int]] = []
    path = fetch(tmp_path, source=source(f"{url}/good"), progress=lambda now, total: done.append((now, total)))
    assert path.read_bytes() == TEXT
    assert done[-1] == (len(GOOD), len(GOOD))
    assert contents(tmp_path) == {"YearPredictionMSD.txt"}
    told: list[str] = []
    assert fetch(tmp_path, source=source(f"{url}/good"), report=told.append) == path
    assert requests == ["/good"]
    assert "there already" in told[0]
    path.write_bytes(TEXT[:-1] + b"x")  # of the same size
    assert fetch(tmp_path, source=source(f"{url}/good")).read_bytes() == TEXT


def test_the_second_address_when_the_first_fails_and_again_when_it_breaks(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, requests = server
    assert fetch(tmp_path, source=source(f"{url}/missing", f"{url}/good")).read_bytes() == TEXT
    assert requests == ["/missing", "/good"]
    assert fetch(tmp_path / "b", source=source(f"{url}/flaky")).read_bytes() == TEXT
    assert requests.count("/flaky") == 2


@pytest.mark.parametrize(
    ("place", "says"),
    [("/wrong", "sha256 is not"), ("/missing", "the server answered 404"), ("/broken", "broke off")],
)
def test_failures_are_told_and_leave_nothing(
    place: str, says: str, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says) as caught:
        fetch(tmp_path, source=source(server[0] + place))
    assert server[0] + place in str(caught.value)
    assert contents(tmp_path) == set()


def test_offline(server: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no connection.*[Cc]onnection refused"):
        fetch(tmp_path, source=source("http://127.0.0.1:1/songs.zip"))
    assert contents(tmp_path) == set()


def test_a_wrong_text_in_a_right_zip(server: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text's sha256"):
        fetch(tmp_path, source=source(f"{server[0]}/good", text=TEXT[::-1]))
    assert contents(tmp_path) == set()


def test_a_full_disk(server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_copy", full)
    with pytest.raises(DataError, match="no space is left"):
        fetch(tmp_path, source=source(f"{server[0]}/good"))
    assert contents(tmp_path) == set()


def test_the_songs_are_the_published_ones() -> None:
    assert SONGS.zip_sha256.startswith("06f801af323b")
    assert SONGS.text_sha256.startswith("4b6f8e50235b")
    assert len(SONGS.urls) == 2
    assert all(url.startswith("https://archive.ics.uci.edu/") for url in SONGS.urls)
