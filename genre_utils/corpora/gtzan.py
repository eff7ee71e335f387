"""GTZAN itself: the public mini subset (100 clips, fetched and checked) and the whole (999 usable clips).

GTZAN carries no licence: clips are played on the reader's machine and never published with the book.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from filelock import FileLock
from tqdm import tqdm

from genre_utils.audio import file_sha256
from genre_utils.corpora import Clip, Corpus
from genre_utils.corpora.faults import gtzan_faults
from genre_utils.errors import CorpusError
from genre_utils.paths import corpora_dir, disk_access, package_data, write_whole
from genre_utils.profiles import GENRES

#: The mini subset that mirdata's ``gtzan_genre`` loader names. GitHub may repack this archive, so the
#: checksum of every clip inside decides, not that of the archive.
MINI_URL = "https://github.com/TempoBeatDownbeat/gtzan_mini/archive/refs/heads/main.zip"
#: Bytes: the archive has about 120 million, a clip of 30 s 1.3 million; anything much larger is not it.
LARGEST_ARCHIVE, LARGEST_CLIP = 400_000_000, 2_000_000
CLIP_S = 30.0
#: The Kaggle copy's damaged file: left out by name, never because it happens not to load.
DAMAGED = {"jazz.00054": "its file is damaged in the copies in circulation"}
_BY_HAND = (
    "download the archive of github.com/TempoBeatDownbeat/gtzan_mini with a browser, unpack it, and set "
    "GTZAN_MINI_DIR to its folder genres."
)


@lru_cache(maxsize=1)
def mini_listing() -> dict[str, dict]:
    """Clip id -> ``sha256`` and more of the 100 clips of the mini subset."""
    return json.loads(package_data("gtzan_mini.json").read_text(encoding="utf-8"))["clips"]


def gtzan_ids() -> tuple[str, ...]:
    """The 999 usable clips of GTZAN, by genre and number."""
    ids = (f"{genre}.{number:05d}" for genre in GENRES for number in range(100))
    return tuple(clip for clip in ids if clip not in DAMAGED)


def _genre_root(folder: Path) -> Path | None:
    """The folder that holds ``blues/`` … ``rock/``: `folder` or a usual place below it."""
    roots = (folder / below for below in ("", "genres", "genres_original", "Data/genres_original"))
    return next((root for root in roots if (root / GENRES[0]).is_dir() and (root / GENRES[-1]).is_dir()), None)


def _find(root: Path, clip_id: str) -> Path | None:
    paths = (root / clip_id.split(".", 1)[0] / (clip_id + ending) for ending in (".wav", ".au"))
    return next((path for path in paths if path.is_file()), None)


def _corpus(name: str, root: Path, ids, excluded: dict[str, str]) -> Corpus:
    faults = gtzan_faults()
    paths = {clip_id: _find(root, clip_id) for clip_id in ids}
    absent = [clip_id for clip_id, path in paths.items() if path is None]
    if absent:
        raise CorpusError(
            f"{root} lacks {len(absent)} of the {len(paths)} clips of {name}, {absent[0]} for one: "
            "copy them there as <genre>/<genre>.NNNNN.wav, or remove the folder and fetch the corpus again."
        )
    clips = tuple(Clip(clip, path, clip.split(".", 1)[0], faults.artists.get(clip)) for clip, path in paths.items())
    return Corpus(name, root, clips, CLIP_S, excluded=excluded, faults=faults.among([*paths, *excluded]))


def gtzan_mini(*, progress: bool = True) -> Corpus:
    """The 100 clips of the public mini subset, from ``GTZAN_MINI_DIR`` or ``data/corpora/gtzan_mini``.

    They are fetched (120 MB) if they are not there and ``GTZAN_MINI_DIR`` is not set.

    Raises
    ------
    CorpusError
        If clips are missing or their bytes are not the published ones.
    """
    chosen = os.environ.get("GTZAN_MINI_DIR")
    root = _genre_root(Path(chosen or corpora_dir() / "gtzan_mini").expanduser())
    if root is None and chosen:
        raise CorpusError(
            f"{chosen} is not a folder with blues/ … rock/ in it: point GTZAN_MINI_DIR at the folder that holds "
            "the ten genres, or unset it to have the clips fetched."
        )
    root = root or fetch_gtzan_mini(progress=progress)
    corpus = _corpus("gtzan-mini", root, mini_listing(), {})
    for clip in corpus:
        if file_sha256(clip.path) != mini_listing()[clip.id]["sha256"]:
            raise CorpusError(
                f"{clip.path} is not the published clip (its SHA-256 differs): remove {root} and fetch it again "
                "with `python -m genre_utils fetch gtzan-mini`."
            )
    return corpus


def gtzan_full() -> Corpus:
    """The 999 usable clips of GTZAN, from ``GTZAN_DIR`` or ``data/corpora/gtzan``; jazz.00054 is left out.

    Raises
    ------
    CorpusError
        If they are not all there; the message says how to get them.
    """
    place = Path(os.environ.get("GTZAN_DIR") or corpora_dir() / "gtzan").expanduser()
    root = _genre_root(place)
    if root is None:
        raise CorpusError(
            f"GTZAN is not at {place}. It has no official download any more: get the copy "
            "'andradaolteanu/gtzan-dataset-music-genre-classification' from Kaggle (1.2 GB, a free account), "
            "unpack it, and set GTZAN_DIR to its folder genres_original. Without it, the profiles mini and "
            "gtzan-mini need no account."
        )
    return _corpus("gtzan", root, gtzan_ids(), dict(DAMAGED))


def fetch_gtzan_mini(url: str = MINI_URL, *, progress: bool = True) -> Path:
    """Download, check and unpack the mini subset to ``data/corpora/gtzan_mini``; an interrupted download is continued.

    The folder appears only when every clip's checksum is right.

    Raises
    ------
    CorpusError
        If the server cannot be reached, or the archive is unsafe, incomplete or not the expected one.
    CacheError
        If it cannot be written.
    """
    target = corpora_dir() / "gtzan_mini"
    archive = target.with_name("gtzan_mini.zip.part")
    # Of two first runs at once, the second finds the clips.
    with disk_access(f"write {target} (300 MB)"), FileLock(target.with_name("gtzan_mini.lock")):
        if target.is_dir() and all(_find(target, clip_id) for clip_id in mini_listing()):
            return target
        _download(url, archive, progress)
        try:
            _unpack(archive, target)
        except CorpusError:
            archive.unlink(missing_ok=True)  # a wrong archive is no use to continue from
            raise
        archive.unlink(missing_ok=True)
    return target


def _download(url: str, path: Path, progress: bool) -> None:
    """Bytes of `url` to `path`, continued from what `path` already holds where the server allows it."""
    have = path.stat().st_size if path.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
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
        raise CorpusError(f"{url} answered {error.code} {error.reason}: {_BY_HAND}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CorpusError(f"{url} cannot be fetched ({reason}): run it again to continue, or {_BY_HAND}") from error
    if total is not None and have < total:
        raise CorpusError(f"{url} broke off after {have} of {total} bytes: run it again to continue.")


def _unpack(archive: Path, target: Path) -> None:
    """The clips from `archive` to `target`, which appears only when all of them are right.

    Nothing else is unpacked, and each clip to a path that its own name makes, whatever the archive says.
    """
    try:
        with (
            zipfile.ZipFile(archive) as bundle,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as holder,
        ):
            work = Path(holder) / "clips"
            for clip_id, member in _members(bundle).items():
                content = bundle.read(member)
                if hashlib.sha256(content).hexdigest() != mini_listing()[clip_id]["sha256"]:
                    raise CorpusError(
                        f"{member.filename} in the archive is not the published clip (its SHA-256 differs). "
                        f"Fetch it again, or {_BY_HAND}"
                    )
                write_whole(work / clip_id.split(".", 1)[0] / f"{clip_id}.wav", content)
            if target.exists():
                shutil.rmtree(target)
            work.rename(target)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise CorpusError(f"the archive is damaged ({error}): fetch it again.") from error


def _members(bundle: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's member of each clip; a WAV file that is none of them, or too large, makes it suspect."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in bundle.infolist():
        name = PurePosixPath(member.filename)
        if name.suffix != ".wav":
            continue
        if name.stem not in mini_listing() or name.stem in found:
            raise CorpusError(f"the archive holds an unexpected clip {str(name)!r}: it is not the mini subset.")
        if member.file_size > LARGEST_CLIP:
            raise CorpusError(f"{name} in the archive would unpack to {member.file_size} bytes: refused.")
        found[name.stem] = member
    absent = [clip_id for clip_id in mini_listing() if clip_id not in found]
    if absent:
        raise CorpusError(f"the archive lacks {len(absent)} clips, {absent[0]} for one. Fetch it again.")
    return found
