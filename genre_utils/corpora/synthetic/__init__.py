"""The embedded corpus: GTZAN's layout, composed and rendered on this machine, with planted faults.

Ten genres follow the written-down rules of :mod:`genre_utils.corpora.synthetic.styles`; fictional artists have a style
and a sound of their own; recordings are degraded as GTZAN's were. Replicas, second excerpts of one recording,
wrong labels and unusable files are planted with their truth table, so that the audit can be checked.
The notes are played by the SoundFont that ``pretty_midi`` carries (TimGM6mb by Tim Brechbill, GPL-2; it is
used where it is installed, not copied into the book).
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from genre_utils.audio import file_sha256
from genre_utils.corpora import Clip, Corpus
from genre_utils.corpora.synthetic import composer, renderer, styles
from genre_utils.corpora.synthetic.renderer import RATE_HZ, produce, render
from genre_utils.device import cores
from genre_utils.errors import CorpusError
from genre_utils.paths import corpora_dir, disk_access, write_whole
from genre_utils.profiles import GENRES

#: Chance that an artist takes a trait from a neighbouring genre: what makes the corpus hard.
BORROW = 0.02
#: Planted faults as shares of the clips; GTZAN's own are 5 % exact replicas and 2 % further excerpts.
REPLICAS, SAME_RECORDING, MISLABELLED = 0.03, 0.02, 0.02
#: Clip id -> SHA-256 of the file as it was rendered.
CHECKSUMS = "checksums.json"


@dataclass(frozen=True)
class Plan:
    """How one clip comes about: everything that its bytes depend on."""

    id: str
    genre: str  # the folder, that is: the label
    artist: composer.Artist
    recording: str
    seed: tuple[int, ...]
    offset_s: float = 0.0
    copy: str = "none"  # "none", "exact", or "re-recorded": the same excerpt through another chain
    damage: str = "none"  # "none", "truncated" or "silent"

    @property
    def file(self) -> str:
        return f"{self.genre}/{self.id}.wav"


def _artist_sizes(n: int) -> list[int]:
    """Clips per artist: uneven, as in GTZAN (Bob Marley sings 35 of its 100 reggae clips)."""
    shares = 1 / (np.arange(26) + 3.0)  # the largest has about an eighth of the clips
    sizes = np.floor(shares / shares.sum() * n).astype(int)
    sizes[: n - sizes.sum()] += 1
    return [int(size) for size in sizes if size]


def plan_corpus(clips_per_genre: int, clip_s: float, seed: int) -> tuple[list[Plan], dict]:
    """The plan of every clip and the truth table of the planted faults."""
    plans: list[Plan] = []
    for g, genre in enumerate(GENRES):
        number = 0
        for a, size in enumerate(_artist_sizes(clips_per_genre)):
            artist = composer.make_artist(genre, np.random.default_rng([seed, g, a]), borrow=BORROW)
            artist = replace(artist, name=f"{artist.name} ({genre} {a + 1})")
            for _ in range(size):
                key = (seed, g, a, number)
                rng = np.random.default_rng(key)
                recording = f"{artist.name}: {rng.choice(composer.TITLES)} No. {rng.integers(2, 99)}"
                plans.append(Plan(f"{genre}.{number:05d}", genre, artist, recording, key))
                number += 1
    return _plant_faults(plans, clip_s, np.random.default_rng([seed, 77]))


def _plant_faults(plans: list[Plan], clip_s: float, rng: np.random.Generator) -> tuple[list[Plan], dict]:
    by_id = {plan.id: plan for plan in plans}
    shares = (REPLICAS, SAME_RECORDING, MISLABELLED)
    replicas, same, mislabelled = (max(1, round(share * len(plans))) for share in shares)
    free = [str(clip_id) for clip_id in rng.permutation(list(by_id))]
    faults: dict = {"replicas": [], "same_recording": [], "mislabelled": {}}

    def double(groups: list, other_label: bool = False, **changes) -> None:
        """Overwrite a free clip of the same artist, else of the same genre, by a double of another one."""
        original = by_id[free.pop()]
        if other_label:  # GTZAN's metal.00058 is rock.00016
            neighbour = str(rng.choice(styles.STYLES[original.genre].neighbours))
            chosen = [clip for clip in free if by_id[clip].genre == neighbour]
        else:
            chosen = [clip for clip in free if by_id[clip].artist == original.artist]
            chosen = chosen or [clip for clip in free if by_id[clip].genre == original.genre]
        if chosen:
            free.remove(chosen[0])
            by_id[chosen[0]] = replace(original, id=chosen[0], genre=by_id[chosen[0]].genre, **changes)
            groups.append(sorted((original.id, chosen[0])))

    for number in range(replicas):
        double(faults["replicas"], other_label=number == 0, copy="exact" if number % 2 == 0 else "re-recorded")
    for _ in range(same):
        double(faults["same_recording"], offset_s=clip_s + 3.0)
    for _ in range(mislabelled):
        plan = by_id[free.pop()]
        true = str(rng.choice([genre for genre in GENRES if genre != plan.genre]))
        other = composer.make_artist(true, np.random.default_rng([*plan.seed, 5]), borrow=0.0)
        other = replace(other, name=f"{other.name} ({true}, misfiled)")
        by_id[plan.id] = replace(plan, artist=other, recording=f"{other.name}: Demo")
        faults["mislabelled"][plan.id] = true
    jazz = next((c for c in free if c.startswith("jazz.")), free[-1])  # in honour of GTZAN's jazz.00054
    reggae = next((c for c in free if c.startswith("reggae.")), free[-2])  # and of its reggae.00086
    by_id[jazz] = replace(by_id[jazz], damage="truncated")
    by_id[reggae] = replace(by_id[reggae], damage="silent")
    faults["unusable"] = {jazz: "truncated: the file ends after a fraction of a second",
                          reggae: "silent after its first seconds"}
    return list(by_id.values()), faults


def clip_wave(plan: Plan, clip_s: float) -> np.ndarray:
    """The samples of one planned clip, float32 mono at 22,050 Hz."""
    piece = composer.compose(plan.artist, np.random.default_rng([*plan.seed, 1]), 2 * clip_s + 6)
    start_s = 1.5 + plan.offset_s + float(np.random.default_rng([*plan.seed, 2]).uniform(0, 1.2))
    if plan.copy == "re-recorded":
        start_s += 0.35  # another transfer of the same record starts a moment later
    chain = [*plan.seed, 3] + ([1] if plan.copy == "re-recorded" or plan.offset_s else [])
    wave = produce(render(piece, start_s, clip_s), plan.artist.production, np.random.default_rng(chain))
    if plan.damage == "silent":
        wave[round(0.2 * len(wave)):] *= 1e-5
    return wave


def _write(plan: Plan, clip_s: float, root: Path) -> tuple[str, str]:
    """Render one clip to its file and return its id and SHA-256."""
    buffer = io.BytesIO()
    sf.write(buffer, clip_wave(plan, clip_s), RATE_HZ, subtype="PCM_16", format="WAV")
    if plan.damage == "truncated":
        buffer.truncate(44 + 2 * RATE_HZ // 4)  # the header still promises the whole clip
    write_whole(root / plan.file, buffer.getvalue())
    return plan.id, file_sha256(root / plan.file)


def _recipe() -> str:
    """A digest of the rules and the renderer: a change of either makes a new corpus."""
    files = (styles.TABLES, styles.__file__, composer.__file__, renderer.__file__, __file__)
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:10]


def _missing(plans: list[Plan], root: Path) -> tuple[list[Plan], dict[str, str]]:
    """Those of `plans` whose files are not there or not as they were rendered, and the checksums that are known."""
    try:
        known = dict(json.loads((root / CHECKSUMS).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # none yet, or damaged: the clips are rendered again
        known = {}

    def intact(plan: Plan) -> bool:
        return (root / plan.file).is_file() and file_sha256(root / plan.file) == known.get(plan.id)

    return [plan for plan in plans if not intact(plan)], known


def _render(plans: list[Plan], clip_s: float, root: Path, progress: bool) -> None:
    """Render those of `plans` that are missing."""
    missing, known = _missing(plans, root)
    jobs = Parallel(n_jobs=min(8, cores()), return_as="generator_unordered")(
        delayed(_write)(plan, clip_s, root) for plan in missing
    )
    try:
        known.update(tqdm(jobs, total=len(missing), desc="rendering clips", unit="clip", disable=not progress))
    finally:  # whatever happens, the next call renders only what is missing
        write_whole(root / CHECKSUMS, json.dumps(known, indent=0, sort_keys=True).encode())


def synthetic_corpus(clips_per_genre: int, clip_s: float, seed: int = 0, *, progress: bool = True) -> Corpus:
    """Render (or find, if already rendered) the synthetic corpus, in a folder below ``data/corpora``.

    The same `seed` gives the same bytes on one machine; another seed other artists and pieces. Clips of `clip_s` seconds
    are mono PCM-16 at 22,050 Hz; the truncated file is excluded by name.

    Raises
    ------
    CorpusError
        If a file cannot be written; files already rendered are kept and used by the next call.
    """
    root = corpora_dir() / f"synthetic-{clips_per_genre}x{clip_s:g}s-seed{seed}-{_recipe()}"
    plans, faults = plan_corpus(clips_per_genre, clip_s, seed)
    with disk_access(f"write the synthetic corpus to {root}", CorpusError):
        if _missing(plans, root)[0]:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / ".lock"):  # whoever wants the same corpus meanwhile waits here, and finds it rendered
                _render(plans, clip_s, root, progress)
    excluded = {plan.id: faults["unusable"][plan.id] for plan in plans if plan.damage == "truncated"}
    usable = [plan for plan in plans if plan.id not in excluded]
    clips = tuple(Clip(p.id, root / p.file, p.genre, p.artist.name, p.recording) for p in usable)
    return Corpus("synthetic", root, clips, clip_s, excluded, faults)
