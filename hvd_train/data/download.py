"""Downloading YearPredictionMSD, checked before anything is used.

The download goes to a temporary file, is compared with its checksum, and only then gets its name; likewise the text
that is unpacked from it. So whatever goes wrong leaves nothing half-written.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hvd_train.data.cache import locked
from hvd_train.data.conversion.converter import Tell
from hvd_train.data.conversion.spill import ShowProgress
from hvd_train.data.dataset import file_sha256
from hvd_train.errors import DataError
from hvd_train.files import new_file

ATTEMPTS_PER_URL = 2
CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S = 15.0, 30.0
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A zip file somewhere that holds one text."""

    name: str
    urls: tuple[str, ...]
    """Tried in this order."""
    zip_sha256: str
    text_sha256: str
    text_bytes: int


SONGS = Source(
    name="YearPredictionMSD.txt",
    urls=(
        "https://archive.ics.uci.edu/static/public/203/yearpredictionmsd.zip",
        "https://archive.ics.uci.edu/ml/machine-learning-databases/00203/YearPredictionMSD.txt.zip",
    ),
    zip_sha256="06f801af323bb7798e800583acce4ea1ed2697ac12c23f4424aea0a7a3d09e11",
    text_sha256="4b6f8e50235b359e01689ae7fb33ad0f89677e9a15f25f3d6259327a6bb927bb",
    text_bytes=448_576_698,
)
"""T. Bertin-Mahieux (2011), YearPredictionMSD, UCI Machine Learning Repository, doi:10.24432/C50K61, CC BY 4.0."""


def fetch(
    directory: Path,
    *,
    source: Source = SONGS,
    report: Tell | None = None,
    progress: ShowProgress | None = None,
    lock_timeout_s: float = 1800.0,
) -> Path:
    """The text in `directory`, downloaded unless it is there already and right. Raises DataError."""
    final = directory / source.name
    if _is_right(final, source):
        if report is not None:
            report(f"{final} is there already, and its checksum is right")
        return final
    with locked(directory / f"{source.name}.lock", report, lock_timeout_s):
        if _is_right(final, source):
            return final
        archive = directory / f"{source.name}.zip"
        try:
            _download(archive, source, report, progress)
            _unpack(archive, final, source)
        except OSError as error:
            raise _file_error(directory, error) from error
        finally:
            archive.unlink(missing_ok=True)
    if report is not None:
        report(f"{final}: {source.text_bytes:,} bytes, checksum right")
    return final


def _is_right(path: Path, source: Source) -> bool:
    try:
        return path.stat().st_size == source.text_bytes and file_sha256(path) == source.text_sha256
    except OSError:
        return False


def _download(archive: Path, source: Source, report: Tell | None, progress: ShowProgress | None) -> None:
    """Try each address; raises DataError with what each of them said."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)  # we tell in our own words
    failures = []
    for url in source.urls:
        for attempt in range(1, ATTEMPTS_PER_URL + 1):
            if report is not None:
                report(f"downloading {url}" + (f" (attempt {attempt})" if attempt > 1 else ""))
            downloader = pooch.HTTPDownloader(
                progressbar=_ProgressBar(progress) if progress else False,
                chunk_size=_PIECE_BYTES,
                timeout=(CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S),
            )
            try:
                pooch.retrieve(
                    url, f"sha256:{source.zip_sha256}", fname=archive.name, path=archive.parent, downloader=downloader
                )
                return
            except requests.HTTPError as error:
                answer = error.response
                told = f"{answer.status_code} {answer.reason}" if answer is not None else str(error)
                failures.append(f"{url}: the server answered {told}")
                break  # it will answer the same again
            except requests.exceptions.ChunkedEncodingError as error:
                failures.append(f"{url}: the connection broke off ({error.args[0] if error.args else error})")
            except requests.ConnectionError as error:
                failures.append(f"{url}: no connection ({_innermost(error)})")
            except requests.RequestException as error:
                failures.append(f"{url}: {_innermost(error)}")
            except ValueError:  # pooch's word for a wrong checksum
                failures.append(f"{url}: the file's sha256 is not {source.zip_sha256}")
    listed = "\n".join(f"  {failure}" for failure in dict.fromkeys(failures))
    raise DataError(
        f"{source.name} could not be downloaded:\n{listed}\nNothing was kept. Try again later, or get it in another way "
        f"and pass it by --data; its sha256 is {source.text_sha256}."
    )


def _unpack(archive: Path, final: Path, source: Source) -> None:
    """Write the text under a temporary name, compare its checksum, rename. Raises DataError, OSError."""
    handle, name = new_file(final, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out, zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.namelist() if m.endswith(".txt")]
            if len(members) != 1:
                raise DataError(f"{archive}: there should be one .txt file in it, but there are {members}.")
            with opened.open(members[0]) as text:
                digest = _copy(text, out)
            out.flush()
            os.fsync(out.fileno())
        if digest != source.text_sha256:
            raise DataError(f"{archive}: the text's sha256 is {digest}, not {source.text_sha256}. Nothing was kept.")
        os.replace(name, final)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: it is no whole zip file ({error}). Nothing was kept.") from None
    finally:
        name.unlink(missing_ok=True)


def _copy(text: IO[bytes], out: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := text.read(_PIECE_BYTES):
        digest.update(piece)
        out.write(piece)
    return digest.hexdigest()


def _file_error(directory: Path, error: OSError) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"{directory}: no space is left on the disk. Nothing half-written was kept. Make room.")
    return DataError(f"{directory}: it cannot be written ({error.strerror or error}). Choose another --cache-dir.")


def _innermost(error: BaseException) -> str:
    """The plain cause of a nested network error."""
    while True:
        deeper = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        if not isinstance(deeper, BaseException):
            text = str(error.args[-1] if error.args else error) or type(error).__name__
            return text.rpartition(">: ")[2]
        error = deeper


class _ProgressBar:
    """What pooch calls while it downloads, passed on."""

    def __init__(self, progress: ShowProgress) -> None:
        self.total, self._done, self._progress = 0, 0, progress

    def update(self, count: int) -> None:
        self._done = min(self._done + count, self.total)
        self._progress(self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
