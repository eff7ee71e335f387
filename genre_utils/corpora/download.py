"""One archive of clips over the wire: continued where it broke off, checked, and unpacked safely."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from genre_utils.audio import what_it_is
from genre_utils.errors import CacheError, CorpusError
from genre_utils.paths import write_whole

#: Bytes: the mini subset's archive has about 120 million, a clip of 30 s 1.3 million; anything much larger is not it.
LARGEST_ARCHIVE, LARGEST_CLIP = 400_000_000, 2_000_000
#: Seconds without a byte after which a server counts as gone.
PATIENCE_S = 30


def need_space(folder: Path, size: float) -> None:
    """Raise a CacheError if fewer than `size` bytes are free where `folder` is or will be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if (free := shutil.disk_usage(there).free) < size:
        raise CacheError(
            f"the disk of {folder} has {free / 1e9:.2f} GB free, and {size / 1e9:.2f} GB are needed: free some space, or "
            "choose another place (GENRE_UTILS_HOME; for Kaggle KAGGLEHUB_CACHE, for the Hub HF_HOME)."
        )


def download(url: str, path: Path, by_hand: str, progress: bool) -> None:
    """Bytes of `url` to `path`, continued from what `path` already holds where the server allows it."""
    have = path.stat().st_size if path.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            if answer.status != 206:  # the server sends all of it: begin again
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc="fetch", disable=not progress)
            with path.open("ab" if have else "wb") as file, bar:
                while chunk := answer.read(1 << 18):
                    have += len(chunk)
                    if max(have, total or 0) > LARGEST_ARCHIVE:
                        raise CorpusError(f"{url} is larger than {LARGEST_ARCHIVE} bytes: that is not the mini subset.")
                    file.write(chunk)
                    bar.update(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is as long as the archive, or longer: let the unpacking judge it
            return
        raise CorpusError(f"{url} answered {error.code} {error.reason}: {by_hand}") from error
    except (urllib.error.URLError, ssl.SSLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CorpusError(f"{url} cannot be fetched ({reason}): run it again to continue, or {by_hand}") from error
    if total is not None and have < total:
        raise CorpusError(f"{url} broke off after {have} of {total} bytes: run it again to continue.")


def unpack(archive: Path, target: Path, listing: Mapping[str, dict], by_hand: str) -> None:
    """The clips of `listing` from `archive` to `target`, which appears only when all of them are right.

    Nothing else is unpacked, and each clip to a path that its own name makes, whatever the archive says.
    """
    try:
        with (
            zipfile.ZipFile(archive) as bundle,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as holder,
        ):
            work = Path(holder) / "clips"
            for clip_id, member in _members(bundle, listing).items():
                content = bundle.read(member)
                if hashlib.sha256(content).hexdigest() != listing[clip_id]["sha256"]:
                    raise CorpusError(
                        f"{member.filename} in the archive is not the published clip (its SHA-256 differs). "
                        f"Fetch it again, or {by_hand}"
                    )
                write_whole(work / clip_id.split(".", 1)[0] / f"{clip_id}.wav", content)
            if target.exists():
                shutil.rmtree(target)
            work.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        what = what_it_is(archive) or f"damaged ({error})"
        raise CorpusError(f"what came as the archive is {what}. Fetch it again, or {by_hand}") from error


def _members(bundle: zipfile.ZipFile, listing: Mapping[str, dict]) -> dict[str, zipfile.ZipInfo]:
    """The archive's member of each clip; a WAV file that is none of them, or too large, makes it suspect."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in bundle.infolist():
        name = PurePosixPath(member.filename)
        if name.suffix != ".wav":
            continue
        if name.stem not in listing or name.stem in found:
            raise CorpusError(f"the archive holds an unexpected clip {str(name)!r}: it is not the mini subset.")
        if member.file_size > LARGEST_CLIP:
            raise CorpusError(f"{name} in the archive would unpack to {member.file_size} bytes: refused.")
        found[name.stem] = member
    absent = [clip_id for clip_id in listing if clip_id not in found]
    if absent:
        raise CorpusError(f"the archive lacks {len(absent)} clips, {absent[0]} for one. Fetch it again.")
    return found
