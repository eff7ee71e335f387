"""The experiments on the backbone, on the tiny corpus; and the records that come with the book."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_wav2vec import TINY

from genre_utils import evidence as module
from genre_utils.errors import RunError
from genre_utils.evidence import LOG_MEL, RANDOM, Evidence
from genre_utils.models.wav2vec import Backbone, load_backbone, random_backbone, small_config
from genre_utils.profiles import Training, get_profile

RECORDS = Path(__file__).parents[1] / "book" / "results" / "evidence"


@pytest.fixture(scope="module")
def backbone():
    import torch
    from transformers import Wav2Vec2Model

    torch.manual_seed(1)
    return Backbone(Wav2Vec2Model(small_config(**TINY)), "tiny").eval()


@pytest.fixture
def tiny_world(tiny_corpus, monkeypatch):
    """The profiles' experiments on ten genres of four short clips: two to train on, one to validate, one to test."""
    import genre_utils.corpora
    import genre_utils.profiles
    import genre_utils.splits

    short = Training(epochs=1, batch_size=8, learning_rate=1e-3, window_s=1.0)
    profile = replace(get_profile("mini"), clips_per_genre=4, clip_s=4.0, cnn=short, head_only=short, full=short)
    ids = np.array(tiny_corpus.ids)
    place = np.array([int(clip[-5:]) for clip in ids])
    parts = {part: tuple(map(str, ids[np.isin(place, some)])) for part, some in
             (("train", (0, 1)), ("val", (2,)), ("test", (3,)))}  # fmt: skip
    split = SimpleNamespace(
        **parts, ids=parts["train"] + parts["val"] + parts["test"], provenance="by number"
    )
    monkeypatch.setattr(genre_utils.profiles, "get_profile", lambda name: profile)
    monkeypatch.setattr(genre_utils.corpora, "load_corpus", lambda profile: tiny_corpus)
    monkeypatch.setattr(genre_utils.splits, "make_split", lambda corpus, profile: split)
    return parts


def test_labels_are_drawn_alike_for_every_contestant_and_scored_on_the_test_clips(tiny_world, backbone):
    found = module.labels({"tiny": backbone}, seeds=2, progress=False)
    assert found.clips == list(tiny_world["test"])
    assert found.contestants == ["tiny", LOG_MEL, RANDOM]
    assert found.sizes == [10, len(tiny_world["train"])]
    assert found.hits("tiny", 10).shape == (2, len(found.clips))
    # With all labels a seed has nothing to draw but random weights.
    assert np.array_equal(*found.hits("tiny"))
    assert not np.array_equal(*found.hits(RANDOM))
    assert found.backbones == {"tiny": backbone.fingerprint}


def test_every_layer_is_probed_and_the_record_survives_the_disk(tiny_world, backbone, tmp_path):
    made = module.layers({"tiny": backbone}, seeds=2, progress=False)
    assert made.layers_of("tiny") == [0, 1, 2] and made.layers_of(LOG_MEL) == [0]
    made.save(tmp_path)
    found = Evidence.load("layers", tmp_path)
    assert found == made
    lead = found.accuracy("tiny", against=RANDOM, layer=1)
    assert lead.value == pytest.approx(found.hits("tiny", layer=1).mean() - found.hits(RANDOM, layer=1).mean())
    assert lead.low <= lead.value <= lead.high


def test_whole_networks_are_trained_from_each_start(tiny_world, backbone, genre_home):
    found = module.fine_tuning({"tiny": backbone}, seeds=2, progress=False)
    before = backbone.fingerprint
    assert found.contestants == ["tiny", RANDOM, f"{RANDOM}, three times as long"]
    assert all(found.hits(name).shape == (2, len(found.clips)) for name in found.contestants)
    assert backbone.fingerprint == before, "the pre-trained weights were trained in place"
    histories = genre_home.glob("build/runs/mini/evidence/*/fit.json")
    epochs = sorted(len(json.loads(path.read_text())["history"]) for path in histories)
    assert epochs == [1, 1, 1, 1, 3, 3]


def test_every_protocol_runs_both_approaches_on_the_test_clips(tiny_world, backbone):
    found = module.protocol({"tiny": backbone}, seeds=1, progress=False, only=("corrected", "rate", "original"))
    assert found.contestants == [
        f"{approach}: {name}" for name in ("corrected", "rate", "original") for approach in ("head-only", "full")
    ]
    assert found.hits("full: original").shape == (1, len(tiny_world["test"]))


def test_transfer_tests_every_clip_once_a_seed(tiny_world, backbone):
    found = module.transfer({"tiny": backbone}, seeds=2, progress=False, folds=3)
    assert found.contestants == ["tiny", LOG_MEL, RANDOM, module.SVM, module.CNN]
    assert sorted(found.clips) == sorted(clip for part in tiny_world.values() for clip in part)
    assert {len(trial.hits) for trial in found.trials} == {len(found.clips)}
    assert "artist-grouped 3-fold" in found.split


@pytest.mark.parametrize("question", ["labels", "layers", "fine-tuning", "transfer"])
def test_the_records_of_the_book_are_about_the_backbone_that_it_ships(question):
    found = Evidence.load(question, RECORDS)
    assert found.backbones["pre-trained"] == load_backbone("shipped").fingerprint
    assert all(len({trial.seed for trial in found.trials if trial.contestant == name}) >= 5 for name in found.contestants)


def test_genre_can_be_read_from_the_shipped_backbone_and_better_than_from_random_weights():
    """On two hundred clips of artists that neither the backbone nor the book's corpus has; folds by artist."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    from genre_utils.audio import load_audio
    from genre_utils.corpora.synthetic import synthetic_corpus
    from genre_utils.features import frozen_states
    from genre_utils.models.probe import linear_probe

    corpus = synthetic_corpus(20, 4.0, seed=5, progress=False)
    heard = np.stack([np.resize(load_audio(clip.path, rate_hz=16_000)[0], 64_000) for clip in corpus])
    y, artists = corpus.labels(corpus.ids), [clip.artist or clip.id for clip in corpus]
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)

    def score(backbone) -> float:
        states = frozen_states(backbone, heard, window_s=4.0, batch_size=16, progress=False).swapaxes(0, 1)
        return np.mean([cross_val_score(linear_probe(), x, y, groups=artists, cv=folds).mean() for x in states])

    shipped, random = score(load_backbone("shipped")), score(random_backbone(0))
    assert shipped > 0.6
    assert shipped > random + 0.08


def test_a_missing_or_damaged_record_says_how_to_make_it(tmp_path):
    with pytest.raises(RunError, match=r"no record .*labels.json; make it with: python -m genre_utils evidence labels"):
        Evidence.load("labels", tmp_path)
    (tmp_path / "labels.json").write_text('{"question": "labels"')
    with pytest.raises(RunError, match=r"labels.json cannot be read"):
        Evidence.load("labels", tmp_path)


def test_an_unknown_contestant_is_an_error_that_lists_the_others(tiny_world, backbone):
    found = module.layers({"tiny": backbone}, seeds=2, progress=False)
    with pytest.raises(RunError, match="no 'wav2vec'.* it has tiny, log-mel statistics, random weights"):
        found.hits("wav2vec")
