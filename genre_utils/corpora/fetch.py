"""All of GTZAN from wherever it can be had: a folder, Kaggle, a mirror on the Hub. Every clip is decoded before it counts."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile

import soundfile as sf
from huggingface_hub import constants, hf_hub_download, list_repo_files
from tqdm import tqdm

from genre_utils.audio import file_sha256, load_audio, open_audio
from genre_utils.corpora import gtzan
from genre_utils.corpora.download import LARGEST_CLIP, PATIENCE_S, need_space
from genre_utils.corpora.gtzan import DAMAGED, RATE_HZ, clip_files, disguise, genre_root, gtzan_ids, told
from genre_utils.errors import AudioError, CorpusError
from genre_utils.hub import reason, refusal
from genre_utils.paths import corpora_dir, disk_access, write_whole
from genre_utils.profiles import GENRES

#: The copy on Kaggle that most notebooks name, in the one version that is known: a public data set, no account is needed.
KAGGLE = "andradaolteanu/gtzan-dataset-music-genre-classification/versions/1"
#: Bytes that must be free: Kaggle's archive (1.2 GB) and what it unpacks to; a mirror's parquet files; 1000 clips.
KAGGLE_SPACE, PARQUET_SPACE, CLIPS_SPACE = 3e9, 1.3e9, 1.4e9
#: A clip's length may differ from 30 s by this share: GTZAN's own lie between 29.9 and 30.7 s.
LENGTH_TOLERANCE = 0.04
_CHANGED = "its samples are not GTZAN's: re-encoded or resampled"
_BY_HAND = (
    "download kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification with a browser, unpack it, "
    "and set GTZAN_DIR to its folder genres_original"
)


def fetch_gtzan(mirror: str = "", *, progress: bool = True, say: Callable[[str], object] = print) -> Path:
    """Find or get a copy of GTZAN of which every clip is right; later runs find it by themselves.

    Tried in this order: the folders of :func:`~genre_utils.corpora.gtzan.places`, Kaggle, the Hub. A bad copy that
    ``GTZAN_DIR`` names is not passed over: nothing is downloaded then.

    Parameters
    ----------
    mirror : str
        Data set of parquet files on the Hub, ``OWNER/NAME@COMMIT``. None is the default, because of no complete mirror
        have the clips been compared with GTZAN's.
    say : callable
        Is told what was found.

    Raises
    ------
    CorpusError
        If no copy is complete; the message says what was found, and what of it is usable.
    """
    refused: list[str] = []

    def attempt(source: str, get: Callable[[], Path]) -> Path | None:
        try:
            root = get()
            say(f"{source}: {check_copy(root, progress=progress)}")
        except CorpusError as error:
            say(f"{source}: {str(error).splitlines()[0]}")
            refused.append(f"{source}: {error}")
            return None
        with disk_access(f"write {gtzan.found_note()}"):
            write_whole(gtzan.found_note(), os.fsencode(root.resolve()))
        return root

    for number, place in enumerate(gtzan.places(), 1):
        if (there := genre_root(place)) is None:
            say(f"Folder: no GTZAN at {place}")
        elif root := attempt("Folder", lambda there=there: there):
            return root
        if refused and number == len(set(gtzan.chosen_places())):
            way_out = "Put it right, or unset GTZAN_DIR and run it again: then another copy is looked for."
            raise CorpusError("\n".join([*refused, way_out]))
    if root := attempt("Kaggle", _from_kaggle):
        return root
    if mirror and (root := attempt(f"The Hub, {mirror}", lambda: _from_hub(mirror, progress))):
        return root
    if not mirror:
        refused.append("The Hub: not asked, as no mirror is named (--mirror OWNER/NAME@COMMIT, a data set of parquet files)")
    raise CorpusError("\n".join(["no complete GTZAN was found.", *refused, f"By hand: {_BY_HAND}."]))


def check_copy(root: Path, *, progress: bool = True) -> str:
    """Decode every clip below `root`; what was found, in a sentence.

    Raises
    ------
    CorpusError
        If clips are missing, do not decode, are resampled, re-encoded, cut or silent: it names them, and the genres
        that are complete all the same.
    """
    files, ids = clip_files(root), gtzan_ids()
    checked = {clip: _fault(clip, files.get(clip)) for clip in tqdm(ids, desc="decode", disable=not progress)}
    faults = {clip: why for clip, why in checked.items() if why}
    known = [clip for clip in gtzan.mini_listing() if clip in files]
    if not faults:
        each = sorted({sum(clip.startswith(f"{genre}.") for clip in files) for genre in GENRES})
        return (
            f"complete. {len(files)} files in {root}, {' to '.join(map(str, each))} a genre; {len(ids)} clips were "
            f"decoded: {RATE_HZ} Hz, about {gtzan.CLIP_S:g} s, none silent, and {len(known)} the same as in gtzan-mini "
            f"sample by sample. Left out by name: {', '.join(DAMAGED)}"
        )
    bad = {str(files[clip]): why for clip, why in faults.items() if clip in files}
    missing = {str(root / clip.split(".")[0] / f"{clip}.wav"): why for clip, why in faults.items() if clip not in files}
    text = f"of {len(ids)} clips {len(missing)} are missing in {root}, and {len(bad)} are bad.\n{told(bad | missing)}\n"
    if changed := sum(faults.get(clip) == _CHANGED for clip in known):
        text += f"{changed} of the {len(known)} clips that are in gtzan-mini too differ from it: this copy was processed.\n"
    whole = [genre for genre in GENRES if not any(clip.startswith(f"{genre}.") for clip in faults)]
    if len(whole) < 2:
        raise CorpusError(f"{text}Complete: {whole[0] if whole else 'no genre'}; a run needs two genres.")
    raise CorpusError(
        f"{text}Complete all the same: {', '.join(whole)}. With GTZAN_DIR={root} they can be run:\n"
        f"    python -m genre_utils run --profile gtzan --genres {','.join(whole)}"
    )


def _fault(clip: str, path: Path | None) -> str | None:
    """What is wrong with the file of a clip, or None."""
    if path is None:
        return "missing"
    if what := disguise(path):  # known by its first bytes: no decoder need be asked
        return what
    try:
        wave, rate_hz = load_audio(path)
    except AudioError as error:
        return str(error).removeprefix(str(path)).lstrip(": ")
    if rate_hz != RATE_HZ:
        return f"{rate_hz} Hz, not {RATE_HZ}: resampled"
    if abs((seconds := len(wave) / rate_hz) - gtzan.CLIP_S) > LENGTH_TOLERANCE * gtzan.CLIP_S:
        return f"{seconds:.2f} s long, not about {gtzan.CLIP_S:g} s"
    known = gtzan.mini_listing().get(clip)
    return _CHANGED if known and known["sha256"] not in (file_sha256(path), _sha256_as_wav(path)) else None


def _sha256_as_wav(path: Path) -> str:
    """SHA-256 of the samples of a file as a plain 16-bit WAV file: what it would be, were it an AU or longer headed."""
    buffer = io.BytesIO()
    with open_audio(path) as file:
        sf.write(buffer, file.read(dtype="int16"), file.samplerate, format="WAV", subtype="PCM_16")
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _from_kaggle() -> Path:
    """The folder of genres in kagglehub's cache: it downloads (and continues), unpacks, and keeps."""
    try:
        import kagglehub
        import requests
    except ImportError as error:
        raise CorpusError(f"kagglehub is not installed: pip install kagglehub ({reason(error)}), then run it again") from error
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub") / "datasets" / KAGGLE
    if genre_root(cache) is None:
        need_space(cache, KAGGLE_SPACE)
    try:
        with _patient(requests.adapters.HTTPAdapter):
            folder = Path(kagglehub.dataset_download(KAGGLE))
    except Exception as error:  # its own kinds, those of requests and of archives, full disks
        what = f"{KAGGLE} is not to be had ({type(error).__name__}: {reason(error)})"
        if isinstance(error, (ValueError, BadZipFile)) and not isinstance(error, OSError):
            for part in cache.parents[1].glob("*.archive"):  # nothing to continue from
                part.unlink(missing_ok=True)
            what += " What came is no archive, but perhaps the page of a sign-in or a firewall"
        code = getattr(getattr(error, "response", None), "status_code", None)
        raise CorpusError(f"{what}: {_remedy(code)}") from error
    if (root := genre_root(folder)) is None:
        raise CorpusError(f"{folder} came from Kaggle without blues/ … rock/: remove it and run it again")
    return root


@contextmanager
def _patient(adapter: type) -> Iterator[None]:
    """Let requests wait for a silent server for a while, not for ever: kagglehub's first question has no time limit."""
    send = adapter.send

    def limited(self, request, *args, timeout=None, **options):
        return send(self, request, *args, timeout=timeout or PATIENCE_S, **options)

    adapter.send = limited
    try:
        yield
    finally:
        adapter.send = send


def _remedy(code: int | None) -> str:
    if code in (401, 403):
        return "sign in: make a token on kaggle.com/settings, and set KAGGLE_USERNAME and KAGGLE_KEY"
    if code == 404:
        return "it is not there any more under this name"
    return (
        "run it again (an unfinished download is continued). If a firewall stands between, get it by hand; if its "
        "certificate is not trusted, set REQUESTS_CA_BUNDLE to your network's"
    )


def _from_hub(mirror: str, progress: bool) -> Path:
    """The clips in the parquet files of a data set on the Hub, unpacked to ``data/corpora``."""
    repo, _, revision = mirror.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo) or not revision:
        raise CorpusError(f"a mirror is named OWNER/NAME@COMMIT, not {mirror!r}: without a commit it may change")
    try:
        from pyarrow import ArrowException
    except ImportError as error:
        raise CorpusError("pyarrow is not installed: pip install pyarrow, then run it again") from error
    target = corpora_dir() / f"gtzan_{repo.replace('/', '--')}@{revision}"
    need_space(Path(constants.HF_HUB_CACHE), PARQUET_SPACE)
    need_space(target, CLIPS_SPACE)
    try:
        names = [name for name in list_repo_files(repo, repo_type="dataset", revision=revision) if name.endswith(".parquet")]
        files = [hf_hub_download(repo, name, repo_type="dataset", revision=revision) for name in names]
    except Exception as error:  # many kinds; a page of HTML in place of an answer is one
        raise CorpusError(f"{mirror} {refusal(error, 'take another way to GTZAN')}") from error
    try:
        with disk_access(f"write {target} ({CLIPS_SPACE / 1e9} GB)"):
            for file in tqdm(files, desc="unpack", disable=not progress):
                for clip, content in _rows(Path(file)):
                    ending = {b".snd": ".au", b"fLaC": ".flac", b"OggS": ".ogg"}.get(content[:4], ".wav")
                    write_whole(target / clip.split(".")[0] / f"{clip}{ending}", content)
    except ArrowException as error:
        raise CorpusError(f"{mirror} holds a parquet file that cannot be read ({reason(error)}): another mirror?") from error
    if (root := genre_root(target)) is None:
        raise CorpusError(f"{mirror} holds no clips that are called <genre>.NNNNN.wav (in {len(files)} parquet files)")
    return root


def _rows(file: Path) -> Iterator[tuple[str, bytes]]:
    """Clip id and bytes of each usable clip in a parquet file, by the name that a row gives its audio."""
    from pyarrow import parquet

    ids = set(gtzan_ids())
    with parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(batch_size=8):
            for row in batch.to_pylist():
                audio = next((value for value in row.values() if isinstance(value, dict) and value.get("bytes")), None)
                if audio is None:
                    continue
                name = audio.get("path") or row.get("file") or ""
                clip = PurePosixPath(name.replace("\\", "/")).stem.lower()
                if len(audio["bytes"]) > LARGEST_CLIP:
                    raise CorpusError(f"{name} in {file} has {len(audio['bytes'])} bytes: refused")
                if clip in ids:
                    yield clip, audio["bytes"]
