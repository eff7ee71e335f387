"""The audit finds what was planted, and little else."""

import io
import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from genre_utils.audio import load_audio
from genre_utils.corpora import Clip, Corpus
from genre_utils.experiments.audit import AuditReport, Suspect, audit, embeddings, left_out_scores, score
from genre_utils.experiments.copies import Pair, coherence, fingerprints, groups_of, match_all
from genre_utils.features import mel_unit

RATE_HZ = 22_050
CLIP_S = 6.0


def music(seed: int, seconds: float) -> np.ndarray:
    """Random notes with random overtones: enough structure to be unlike any other seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = 0.002 * rng.standard_normal(len(t))
    start = 0.0
    while start < seconds:
        pitch_hz = 110 * 2 ** (rng.integers(0, 36) / 12)
        on = slice(int(start * RATE_HZ), int((start + 1) * RATE_HZ))  # a note has died away after a second
        for overtone in range(1, 7):
            shape = np.exp(-(t[on] - start) * rng.uniform(2, 8)) * rng.uniform(0, 0.2) / overtone
            wave[on] += shape * np.sin(2 * np.pi * pitch_hz * overtone * (t[on] - start))
        start += rng.uniform(0.1, 0.35)
    return (0.5 * wave / np.abs(wave).max()).astype("float32")


def _mp3(wave):
    buffer = io.BytesIO()
    sf.write(buffer, np.clip(wave, -1, 1), RATE_HZ, format="MP3", compression_level=0.95, bitrate_mode="VARIABLE")
    return sf.read(io.BytesIO(buffer.getvalue()), dtype="float32")[0]


def _noisy(wave):
    noise = np.random.default_rng(5).standard_normal(len(wave)).astype("float32")
    return wave + noise * wave.std() * 10 ** (-15 / 20)


def _quiet_and_inverted(wave):
    return -0.1 * wave


def _dull(wave):
    return np.convolve(wave, np.hanning(15) / np.hanning(15).sum(), mode="same").astype("float32")


def _clipped(wave):
    return np.tanh(6 * wave)


COPIES = {
    "identical": lambda wave: wave,
    "mp3": _mp3,
    "noisy": _noisy,
    "quiet and inverted": _quiet_and_inverted,
    "dull": _dull,
    "clipped": _clipped,
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """14 pieces, six copies, one excerpt two seconds later, one cut, one silent and one broken file."""
    root, clips, groups = tmp_path_factory.mktemp("planted"), [], []
    (root / "blues").mkdir()

    def add(wave):
        path = root / "blues" / f"blues.{len(clips):05d}.wav"
        sf.write(path, wave, RATE_HZ)
        clips.append(Clip(path.stem, path, "blues"))
        return path.stem

    samples = round(CLIP_S * RATE_HZ)
    pieces = [music(seed, CLIP_S + 2) for seed in range(14)]
    originals = [add(piece[:samples]) for piece in pieces]
    for number, change in enumerate(COPIES.values()):
        groups.append((originals[number], add(change(pieces[number][:samples])[:samples])))
    groups.append((originals[10], add(pieces[10][-samples:])))
    unusable = {
        add(pieces[11][: samples // 2]): "cut",
        add(np.where(np.arange(samples) < samples // 4, pieces[12][:samples], 0)): "silent",
    }
    broken = add(pieces[13][:100])
    clips[-1].path.write_bytes(b"no sound in here")
    unusable[broken] = "broken"
    return Corpus("planted", root, tuple(clips), CLIP_S, faults={"replicas": groups, "unusable": unusable})


def test_replica_pairs_and_unusable_files_are_found_and_nothing_else(planted):
    report = audit(planted, progress=False)
    table = score(report, planted.faults)
    assert table.loc["replicas", ["planted", "precision", "recall"]].tolist() == [7, 1, 1]
    assert table.loc["unusable", ["planted", "precision", "recall"]].tolist() == [3, 1, 1]
    assert [pair.identical for pair in report.replicas].count(True) == 1
    shifted = next(pair for pair in report.replicas if pair.first == "blues.00010")
    assert shifted.lag_s == pytest.approx(-2.0, abs=0.002)
    why = {clip: text.split(":")[0].split(" for")[0] for clip, text in report.unusable.items()}
    assert sorted(why.values()) == ["silent", "truncated", "unreadable"]
    assert set(report.frame()["kind"]) == {"replica", "unusable"}  # one genre: no labels to doubt


def test_a_clip_matches_itself_fully_and_a_stranger_hardly():
    one, other = (mel_unit(music(seed, CLIP_S)) for seed in (31, 32))
    match, lag = match_all(fingerprints(np.stack([one, one, other])))
    assert match[0, 1] == pytest.approx(1, abs=0.01)
    assert lag[0, 1] == 0
    assert match[0, 2] < 0.15


@pytest.mark.parametrize("shift", [-700, 0, 1234])
def test_coherence_finds_the_shift(shift):
    wave = music(40, 2.0)
    a, b = (wave, wave[shift:]) if shift >= 0 else (wave[-shift:], wave)
    value, found = coherence(a, b, -shift + 30, slack=100)
    assert found == -shift
    assert value == pytest.approx(1, abs=1e-3)
    assert coherence(np.zeros(100), np.zeros(100), 0, 5) == (0.0, -5)


def test_scores_count_pairs_clips_and_their_absence():
    pair = Pair("a", "b", 1.0, 1.0, 0.0, True)
    report = AuditReport((pair,), (Suspect("c", "pop", "rock", 1.0), Suspect("d", "pop", "jazz", 0.5)))
    table = score(report, {"replicas": [("b", "a", "e")], "mislabelled": {"c": "rock"}, "unusable": {}})
    assert table.loc["replicas", ["planted", "right", "precision"]].tolist() == [3, 1, 1]
    assert table.loc["mislabelled", ["precision", "recall"]].tolist() == [0.5, 1]
    assert table.loc["unusable"].isna().tolist() == [False, False, False, True, True]


def test_pairs_that_share_a_clip_are_one_group():
    pairs = [Pair(a, b, 1, 1, 0, False) for a, b in (("a", "b"), ("c", "d"), ("b", "c"), ("x", "y"))]
    assert groups_of("abcdxyz", pairs).tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert groups_of("ab", []).tolist() == [0, 1]


def test_a_swapped_label_heads_the_list(tmp_path):
    clips = []
    for genre, pitch_hz in (("blues", 200), ("jazz", 900), ("rock", 3_000)):
        for number in range(8):
            rng = np.random.default_rng([pitch_hz, number])
            t = np.arange(2 * RATE_HZ) / RATE_HZ
            wave = 0.3 * np.sin(
                2 * np.pi * pitch_hz * rng.uniform(0.9, 1.1) * t
            ) + 0.02 * rng.standard_normal(len(t))
            path = tmp_path / f"{genre}.{number:05d}.wav"
            sf.write(path, wave, RATE_HZ)
            clips.append(Clip(path.stem, path, "rock" if path.stem == "blues.00003" else genre))
    report = audit(Corpus("three", tmp_path, tuple(clips), 2.0), progress=False)
    assert (report.suspects[0].clip, report.suspects[0].suggested) == ("blues.00003", "blues")


def test_the_tiny_corpus_planted_faults_are_found(tiny_corpus):
    table = score(audit(tiny_corpus, progress=False), tiny_corpus.faults)
    assert (table.loc[["replicas", "unusable"], "planted"] > 0).all()
    assert (table.loc[["replicas", "unusable"], "recall"] == 1).all()
    assert (table.loc[["replicas", "unusable"], "precision"] == 1).all()


def test_scores_left_out_are_those_of_fits_without_the_group():
    rng = np.random.default_rng(3)
    rows, targets = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    groups, noise = np.array([0, 1, 1, 2, 3, 4, 5, 5, 5]), rng.uniform(0.1, 1, 9)
    kernel = rows @ rows.T
    scores = left_out_scores(kernel, targets, noise, groups)
    for group in range(6):
        own, rest = groups == group, groups != group
        fitted = np.linalg.solve(kernel[np.ix_(rest, rest)] + np.diag(noise[rest]), targets[rest])
        np.testing.assert_allclose(scores[own], kernel[np.ix_(own, rest)] @ fitted, atol=1e-9)


def test_an_artist_vouches_with_a_clip_that_is_not_in_doubt_itself():
    artists = {"a": "Ann", "b": "Ann", "c": "Bob", "d": "Bob", "e": "Cy", "f": None, "g": None}
    clips = tuple(Clip(name, None, "pop", artist) for name, artist in artists.items())
    suspects = tuple(Suspect(name, "pop", "rock", 1.0) for name in "acdef")
    report = AuditReport(suspects=suspects).with_artists(Corpus("x", None, clips, 1.0))
    assert [suspect.clip for suspect in report.suspects] == ["c", "d", "e", "f"]


@pytest.fixture(scope="module")
def unseen(genre_home):
    """A corpus of other artists than those the thresholds were chosen on, small enough for a test."""
    pytest.importorskip("tinysoundfont", reason="rendering needs tinysoundfont")
    from genre_utils.corpora.synthetic import synthetic_corpus

    return synthetic_corpus(24, 5.0, seed=5, progress=False)


def test_planted_faults_of_an_unseen_corpus_are_found(unseen):
    report = audit(unseen, progress=False)
    table = score(report, unseen.faults)
    assert (table.loc[["replicas", "unusable"], ["precision", "recall"]] >= 0.95).all(axis=None)
    named = score(report.with_artists(unseen), unseen.faults).loc["mislabelled"]
    assert named["planted"] == 5
    assert named["right"] >= 3
    assert named["reported"] <= named["right"] + 2


needs_real_clips = pytest.mark.skipif(
    not os.environ.get("GTZAN_MINI_DIR"), reason="set GTZAN_MINI_DIR to the 100 real clips"
)


@pytest.fixture
def real_home(monkeypatch):
    """Where the features of the real clips are already, if the environment names such a place: CI has just made them."""
    if place := os.environ.get("REAL_CLIPS_HOME"):
        monkeypatch.setenv("GENRE_UTILS_HOME", place)


@needs_real_clips
def test_real_neighbours_share_genre_and_artist_and_what_is_known_is_not_contradicted(real_home):
    from genre_utils.corpora.gtzan import gtzan_mini

    corpus = gtzan_mini(progress=False)
    sounds = embeddings(corpus, list(corpus.ids), progress=False)
    sounds /= np.linalg.norm(sounds, axis=1, keepdims=True)
    alike = sounds @ sounds.T
    np.fill_diagonal(alike, -1)
    nearest, frame = alike.argmax(axis=1), corpus.frame()
    genre, artist = frame["genre"].to_numpy(), frame["artist"].fillna("").to_numpy()
    assert (genre[nearest] == genre).sum() >= 50  # 63 were measured; chance gives 9
    paired = np.array([name != "" and (artist == name).sum() > 1 for name in artist])
    assert paired.sum() == 68
    assert (artist[nearest] == artist)[paired].sum() >= 25  # 36 were measured; chance gives 5
    report = audit(corpus, progress=False)
    assert not report.replicas  # none are documented among these clips
    assert not report.unusable
    assert len(report.suspects) <= 5
    wrong = corpus.clips[::20]  # one clip of every second genre gets another's label
    moved = {
        clip.id: replace(clip, genre=corpus.genres[(corpus.genres.index(clip.genre) + 4) % 10])
        for clip in wrong
    }
    spoilt = replace(corpus, clips=tuple(moved.get(clip.id, clip) for clip in corpus))
    table = score(audit(spoilt, progress=False), {"mislabelled": {clip.id: clip.genre for clip in wrong}})
    assert (
        table.loc["mislabelled", "recall"] >= 0.4
    )  # a small corpus of real music is harder than a synthetic one


@needs_real_clips
def test_real_clips_hold_no_false_replicas_and_planted_ones_are_found(real_home, tmp_path):
    from genre_utils.corpora.gtzan import gtzan_mini

    clips, pairs = list(gtzan_mini().clips[::5]), []
    for number, change in zip(range(0, 18, 3), COPIES.values(), strict=True):
        wave, _ = load_audio(clips[number].path)
        path = tmp_path / f"{clips[number].genre}.9{number:04d}.wav"
        sf.write(path, np.concatenate([change(wave)[7_000:], wave[:7_000]]), RATE_HZ)
        pairs.append((clips[number].id, path.stem))
        clips.append(Clip(path.stem, path, clips[number].genre))
    report = audit(Corpus("mini+", tmp_path, tuple(clips), 30.0), progress=False)
    table = score(report, {"replicas": pairs})
    assert table.loc["replicas", ["precision", "recall"]].tolist() == [1, 1]
    assert not report.unusable
