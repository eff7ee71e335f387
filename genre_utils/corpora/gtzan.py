"""GTZAN on this machine: the public mini subset (100 clips), the whole (999 usable clips), or any part of it.

GTZAN carries no licence: clips are played on the reader's machine and never published with the book.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from genre_utils.audio import file_sha256, open_audio, what_it_is
from genre_utils.corpora import Clip, Corpus, gtzan_faults
from genre_utils.corpora.download import download, need_space, unpack
from genre_utils.errors import CorpusError
from genre_utils.paths import corpora_dir, disk_access, package_data
from genre_utils.profiles import GENRES

#: The mini subset that mirdata's ``gtzan_genre`` loader names. GitHub may repack this archive, so the
#: checksum of every clip inside decides, not that of the archive.
MINI_URL = "https://github.com/TempoBeatDownbeat/gtzan_mini/archive/refs/heads/main.zip"
_BY_HAND = (
    "download the archive of github.com/TempoBeatDownbeat/gtzan_mini with a browser, unpack it, and set "
    "GTZAN_MINI_DIR to its folder genres."
)
CLIP_S, RATE_HZ = 30.0, 22_050
#: A file with less than this share of the bytes of a clip (16 bits a sample) cannot be one: some 790 kB.
SMALLEST_SHARE = 0.6
#: Endings of a clip's file: where there are several, the first of these is taken.
ENDINGS = (".wav", ".au", ".flac", ".ogg", ".mp3")
#: The Kaggle copy's damaged file: left out by name, never because it happens not to load.
DAMAGED = {"jazz.00054": "its file is damaged in the copies in circulation"}


@lru_cache(maxsize=1)
def mini_listing() -> dict[str, dict]:
    """Clip id -> ``sha256`` and more of the 100 clips of the mini subset."""
    return json.loads(package_data("gtzan_mini.json").read_text(encoding="utf-8"))["clips"]


def gtzan_ids() -> tuple[str, ...]:
    """The 999 usable clips of GTZAN, by genre and number."""
    ids = (f"{genre}.{number:05d}" for genre in GENRES for number in range(100))
    return tuple(clip for clip in ids if clip not in DAMAGED)


def genre_root(folder: Path) -> Path | None:
    """The folder that holds ``blues/`` … ``rock/``, or some of them: `folder` or a usual place below it."""
    roots = (folder / below for below in ("", "genres", "genres_original", "Data/genres_original"))
    with disk_access(f"look into {folder}", CorpusError, "GTZAN_DIR"):
        return next((root for root in roots if sum((root / genre).is_dir() for genre in GENRES) > 1), None)


def clip_files(root: Path) -> dict[str, Path]:
    """Clip id -> its file below `root`, from one listing of each genre's folder: the first of :data:`ENDINGS`, in any case."""
    found: dict[str, Path] = {}
    with disk_access(f"list the clips in {root}", CorpusError, "GTZAN_DIR"):
        for genre in GENRES:
            files = (root / genre).iterdir() if (root / genre).is_dir() else ()
            known = (path for path in files if path.suffix.lower() in ENDINGS and path.is_file())
            for path in sorted(known, key=lambda file: (ENDINGS.index(file.suffix.lower()), file.name)):
                found.setdefault(path.stem.lower(), path)
    return found


def disguise(path: Path) -> str | None:
    """What a file that should be a clip is instead, by its first bytes and its size; None if it may be a clip."""
    try:
        size, what = path.stat().st_size, what_it_is(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if what or not size:
        return what or "zero bytes"
    return f"{size} bytes, too few for {CLIP_S:g} s" if _too_small(path) else None


def _too_small(path: Path) -> bool:
    """Whether a file has too few bytes for a clip; one that is compressed is only known by decoding it."""
    return path.suffix.lower() in ENDINGS[:2] and path.stat().st_size < SMALLEST_SHARE * CLIP_S * RATE_HZ * 2


def told(faults: Mapping[object, str], most: int = 5) -> str:
    """Lines that name the first faulty files, and how many more there are."""
    lines = [f"  {name}: {why}" for name, why in [*faults.items()][:most]]
    return "\n".join(lines + ([f"  … and {len(faults) - most} more"] if len(faults) > most else []))


def _corpus(name: str, root: Path, files: Mapping[str, Path], ids, excluded: dict[str, str], **more) -> Corpus:
    faults = gtzan_faults()
    if bad := [files[clip] for clip in ids if _too_small(files[clip])]:
        raise CorpusError(
            f"{len(bad)} of the {len(ids)} clips of {name} in {root} are none:\n"
            f"{told({path: disguise(path) or 'too small' for path in bad})}\n"
            f"Copy them there again, or get another copy: python -m genre_utils fetch {name.removesuffix('-part')}"
        )
    clips = tuple(Clip(clip, files[clip], clip.split(".", 1)[0], faults.artists.get(clip)) for clip in ids)
    return Corpus(name, root, clips, CLIP_S, excluded=excluded, faults=faults.among([*ids, *(DAMAGED.keys() & excluded)]), **more)


def gtzan_mini(*, progress: bool = True) -> Corpus:
    """The 100 clips of the public mini subset, from ``GTZAN_MINI_DIR`` or ``data/corpora/gtzan_mini``.

    They are fetched (120 MB) if they are not there and ``GTZAN_MINI_DIR`` is not set.

    Raises
    ------
    CorpusError
        If clips are missing or their bytes are not the published ones.
    """
    chosen = os.environ.get("GTZAN_MINI_DIR")
    root = genre_root(Path(chosen or corpora_dir() / "gtzan_mini").expanduser())
    if root is None and chosen:
        raise CorpusError(
            f"{chosen} is not a folder with blues/ … rock/ in it: point GTZAN_MINI_DIR at the folder that holds "
            "the ten genres, or unset it to have the clips fetched."
        )
    root = root or fetch_gtzan_mini(progress=progress)
    files = clip_files(root)
    if absent := [clip for clip in mini_listing() if clip not in files]:
        raise CorpusError(
            f"{root} lacks {len(absent)} of the {len(mini_listing())} clips of gtzan-mini, {absent[0]} for one: they are called "
            "<genre>/<genre>.NNNNN.wav. Copy them there again, or get another copy: python -m genre_utils fetch gtzan-mini"
        )
    corpus = _corpus("gtzan-mini", root, files, mini_listing(), {})
    for clip in corpus:
        if file_sha256(clip.path) != mini_listing()[clip.id]["sha256"]:
            raise CorpusError(
                f"{clip.path} is not the published clip (its SHA-256 differs): remove {root} and fetch it again "
                "with `python -m genre_utils fetch gtzan-mini`."
            )
    return corpus


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
        files = clip_files(target)
        if all(clip in files and file_sha256(files[clip]) == its["sha256"] for clip, its in mini_listing().items()):
            return target
        need_space(target, 3e8)
        download(url, archive, _BY_HAND, progress)
        try:
            unpack(archive, target, mini_listing(), _BY_HAND)
        except CorpusError:
            archive.unlink(missing_ok=True)  # a wrong archive is no use to continue from
            raise
        archive.unlink(missing_ok=True)
    return target


def chosen_places() -> list[Path]:
    """The folders that ``GTZAN_DIR`` names: one, or several as in ``PATH``."""
    return [Path(part).expanduser() for part in os.environ.get("GTZAN_DIR", "").split(os.pathsep) if part.strip()]


def places() -> list[Path]:
    """Where GTZAN may lie: :func:`chosen_places`, where `fetch gtzan` found it, ``data/corpora/gtzan``."""
    note = found_note()
    found = [Path(os.fsdecode(note.read_bytes()))] if note.is_file() else []
    return list(dict.fromkeys([*chosen_places(), *found, corpora_dir() / "gtzan"]))


def found_note() -> Path:
    """The file that holds the folder in which `fetch gtzan` found GTZAN whole."""
    return corpora_dir() / "gtzan.where"


def gtzan_full(genres: tuple[str, ...] = GENRES) -> Corpus:
    """GTZAN, or those of its `genres`: what lies in the folders of ``GTZAN_DIR`` together, or in the first other of :func:`places`.

    Without jazz.00054. Any part will do that holds a clip of each genre; it is called ``gtzan-part``, and says what it is
    (:attr:`Corpus.about`). Files that are too small for clips are refused; only ``fetch gtzan`` decodes them all.

    Raises
    ------
    CorpusError
        If nothing of a genre is there; the message says how to get it.
    """
    ids = [clip for clip in gtzan_ids() if clip.split(".")[0] in genres]
    chosen = [root for root in map(genre_root, chosen_places()) if root]
    others = [[root] for root in map(genre_root, places()) if root and root not in chosen]
    refused = None
    for roots in ([chosen] if chosen else []) + others:
        files = {clip: path for root in reversed(roots) for clip, path in clip_files(root).items()}
        have = Counter(clip.split(".")[0] for clip in ids if clip in files)
        where = " and ".join(map(str, roots))
        lacking = [genre for genre in genres if not have[genre]]
        if not lacking:
            return _part(roots[0], files, ids, genres, _of_each(ids, have))
        way_out = f"\nRun what is there: --genres {','.join(genre for genre in genres if have[genre])}" if len(have) > 1 else ""
        refused = refused or f"{where}: {_of_each(ids, have)}. No clip of {', '.join(lacking)} is there.{way_out}"
    raise CorpusError(refused or
        f"GTZAN is not at {' or '.join(map(str, places()))}. It has no official download any more: "
        "`python -m genre_utils fetch gtzan` looks for a copy (on Kaggle: 1.2 GB); if you have one, set GTZAN_DIR to "
        "the folder that holds blues/ … rock/. Without it, the profiles mini and gtzan-mini need no account."
    )  # fmt: skip


def _of_each(ids, have: Mapping[str, int]) -> str:
    """How many of the clips `ids` there are, genre by genre where they are not all there."""
    wanted = Counter(clip.split(".")[0] for clip in ids)
    each = [f"{genre} {have[genre]}" for genre in wanted if have[genre] < wanted[genre]]
    whole = "; else complete" if len(each) < len(wanted) else ""
    return f"{sum(have.values())} of {len(ids)} clips" + (f" ({', '.join(each)}{whole})" if each else "")


def _part(root: Path, files: Mapping[str, Path], ids: list[str], genres: tuple[str, ...], told_of: str) -> Corpus:
    """Those of the clips `ids` that have a file; where some are sampled at a lower rate than most, without those."""
    there, rates = [clip for clip in ids if clip in files], {}
    if len(there) < len(ids) or len({files[clip].parents[1] for clip in there}) > 1:  # one copy has one rate
        for clip in there:
            with open_audio(files[clip]) as file:
                rates[clip] = file.samplerate
    usual = Counter(rates.values()).most_common(1)[0][0] if rates else RATE_HZ
    low = {clip: f"{rate} Hz: its rate alone would tell its genre" for clip, rate in rates.items() if rate < usual}
    kept = [clip for clip in there if clip not in low]
    excluded = {clip: why for clip, why in DAMAGED.items() if clip.split(".")[0] in genres}
    if len(kept) == len(ids):
        return _corpus("gtzan", root, files, ids, excluded)
    absent = dict.fromkeys([clip for clip in ids if clip not in files], "its file is not there")
    about = f"A part of GTZAN: {told_of}." + (f" Left out: {len(low)} clips at less than {usual} Hz." if low else "")
    return _corpus("gtzan-part", root, files, kept, excluded | low | absent, about=about)
