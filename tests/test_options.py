"""Every documented option, on the real chapters: profiles, splits, protocols, backbones, genres and seeds.

What a run leaves must be what it says: its own record, in its own folder, whatever ran before or beside it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from real_chapters import CLIP_S, all_gtzan, mini_gtzan, run_chapter, shrink, tiny_backbone
from test_fairseq import fairseq_names
from tiny_wav2vec import TINY
from transformers import Wav2Vec2ForPreTraining

from genre_utils.errors import CorpusError, RunError
from genre_utils.identity import identity
from genre_utils.models.wav2vec import small_config
from genre_utils.protocol import CHOICES, ORIGINAL, STUDY
from genre_utils.records import RECORD, TITLES, RunCard, own_cards


@pytest.fixture(scope="module")
def music(genre_home):
    pytest.importorskip("tinysoundfont", reason="rendering needs tinysoundfont")
    from genre_utils.corpora.synthetic import synthetic_corpus

    return synthetic_corpus(8, CLIP_S, seed=0, progress=False)


@pytest.fixture(scope="module")
def gtzan_folder(music, tmp_path_factory):
    return all_gtzan(tmp_path_factory.mktemp("gtzan"), music)


@pytest.fixture(scope="module")
def mini_folder(music, tmp_path_factory):
    return mini_gtzan(tmp_path_factory.mktemp("gtzan_mini"), music)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Two local backbones, and a fairseq file."""
    root = tmp_path_factory.mktemp("backbones")
    tiny_backbone(root / "one")
    tiny_backbone(root / "two", seed=1)
    torch.manual_seed(2)
    header = {
        "_name": "wav2vec2", "encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
        "encoder_attention_heads": 2, "conv_feature_layers": "[(8,10,5)] + [(8,3,2)]*4 + [(8,2,2)]*2",
        "conv_pos": 8, "conv_pos_groups": 2, "latent_vars": 4, "latent_dim": 8, "final_dim": 8, "quantize_targets": True,
    }  # fmt: skip
    model = Wav2Vec2ForPreTraining(small_config(**TINY))
    torch.save({"cfg": {"model": header}, "model": fairseq_names(model)}, root / "small.pt")
    return root


@pytest.fixture
def world(monkeypatch, tmp_path, gtzan_folder, mini_folder):
    """All profiles in small, and an empty folder of runs."""
    shrink(monkeypatch, gtzan_folder, mini_folder)
    monkeypatch.setenv("GENRE_UTILS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("genre_utils.records.runs.recorded_dir", lambda: None)  # a small run has no recorded twin
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def kept():
    """Folders of what chapters have left, by the chapters and their parameters."""
    return {}


@pytest.fixture
def begin_with(world, kept, tmp_path_factory, monkeypatch):
    """Chapters that run before a test's own: in a folder that is empty at first, once for all tests that begin with them;
    each gets a copy of what they left."""

    def left_by(numbers: tuple[int, ...], chosen: dict) -> Path:
        key = (numbers, *sorted(chosen.items()))
        if key not in kept:
            folder = tmp_path_factory.mktemp("kept")
            if numbers[:-1]:
                shutil.copytree(left_by(numbers[:-1], chosen), folder, dirs_exist_ok=True)
            with monkeypatch.context() as patch:
                patch.setenv("GENRE_UTILS_RUNS", str(folder))
                run_chapter(numbers[-1], **chosen)
            kept[key] = folder
        return kept[key]

    def begin(*numbers: int, **chosen) -> None:
        shutil.copytree(left_by(numbers, chosen), world, dirs_exist_ok=True)

    return begin


def card(run, approach) -> RunCard:
    return RunCard.load(run.folder(approach) / RECORD)


@pytest.mark.parametrize("profile", ["mini", "gtzan-mini"])
def test_a_profile_runs_from_first_chapter_to_last(world, backbones, profile):
    chosen = {"profile": profile, "backbone": str(backbones / "one")}
    for number in range(1, 7):
        known = {k: v for k, v in chosen.items() if k == "profile" or number > 2}
        _, shown = run_chapter(number, **known)
        assert f"profile {profile}" in shown
    run = identity(**chosen)
    assert {card(run, name).split.name for name in TITLES} == {"artist"}
    assert card(run, "full").backbone["name"] == run.about["backbone"]
    assert str(backbones) not in (run.folder("full") / RECORD).read_text(), "a record names no folder of the machine"


@pytest.mark.parametrize("split", ["", "cnn", "wav2vec", "artist", "random"])
def test_every_split_of_all_of_gtzan_runs(world, backbones, split):
    """The audit of chapter 1 once died of every split that is a list of GTZAN's clips."""
    chosen = {"profile": "gtzan", "split": split}
    if split == "cnn":  # the audit hears all clips whatever the split: once is enough
        run_chapter(1, **chosen)
    run_chapter(2, **chosen)
    if not split:
        for number in (4, 5, 6):
            run_chapter(number, **chosen, genres="blues,jazz,rock", backbone=str(backbones / "one"))
    run = identity(**chosen)
    assert card(run, "cnn").split.name == (split or "filtered")
    assert f"split-{split}" in run.folder("cnn").parent.name or not split
    card(run, "svm").check()


@pytest.mark.parametrize("protocol", [*CHOICES, ORIGINAL])
def test_every_protocol_trains_and_compares(world, protocol):
    """gtzan-mini has 61 training clips: in batches of 4 one clip is left over, which batch normalisation refused."""
    chosen = {"profile": "gtzan-mini", "protocol": protocol}
    if protocol not in STUDY and protocol != ORIGINAL:
        run_chapter(5, **chosen)
    else:
        for number in (4, 5):
            run_chapter(number, **chosen)
    run = identity(**chosen)
    found = card(run, "full")
    assert found.protocol == run.about["protocol"] == protocol
    assert len(found.predictions) == sum(found.split.counts.values()) - found.split.counts["train"] - found.split.counts["val"]
    if protocol == ORIGINAL:
        _, shown = run_chapter(6, **chosen)
        assert "protocol original" in shown


def test_what_ran_before_does_not_matter(begin_with, tmp_path, monkeypatch):
    """A run with the study's head, after one with the book's, once was given the weights of another layer."""
    begin_with(4, profile="mini")
    run_chapter(4, profile="mini", protocol="head")
    after = card(identity("mini", protocol="head"), "head-only")
    own = card(identity("mini"), "head-only")
    monkeypatch.setenv("GENRE_UTILS_RUNS", str(tmp_path / "fresh"))
    run_chapter(4, profile="mini", protocol="head")
    alone = card(identity("mini", protocol="head"), "head-only")
    assert np.array_equal(after.probabilities, alone.probabilities)
    assert not np.array_equal(after.probabilities, own.probabilities)


def test_chapter_6_shows_one_protocol_and_says_which(begin_with):
    begin_with(2, profile="mini")
    begin_with(4, profile="mini")
    run_chapter(4, profile="mini", protocol="head")
    names, shown = run_chapter(6, profile="mini", protocol="head")
    assert {one.protocol for one in names["ours"].runs["head-only"]} == {"head"}
    assert "protocol head" in shown
    names, _ = run_chapter(6, profile="mini")
    assert {one.protocol for one in names["ours"].runs["head-only"]} == {"corrected"}


@pytest.mark.parametrize("name", ["two", "small.pt"])
def test_another_backbone_has_chapters_of_its_own(world, backbones, name):
    chosen = {"profile": "mini", "backbone": str(backbones / name)}
    for number in (3, 4, 5):
        run_chapter(number, **chosen)
    names, _ = run_chapter(6, **chosen)
    assert set(names["ours"].runs) == {"musicnn", "head-only", "full"}
    assert len({one.backbone["fingerprint"] for cards in names["ours"].runs.values() for one in cards if one.backbone}) == 1


def test_two_backbones_are_never_compared(world, backbones):
    run_chapter(4, profile="mini", backbone=str(backbones / "one"))
    run_chapter(5, profile="mini", backbone=str(backbones / "two"))
    for name, approach in (("one", "head-only"), ("two", "full")):
        names, _ = run_chapter(6, profile="mini", backbone=str(backbones / name))
        assert list(names["ours"].runs) == ["musicnn", approach]
    assert len({c.backbone["name"] for c in own_cards() if c.backbone}) == 2


def test_one_name_for_two_networks_is_refused(begin_with):
    begin_with(4, 5, profile="mini")
    found = card(identity(), "full")
    changed = found.model_copy(update={"backbone": found.backbone | {"fingerprint": "another"}})
    changed.save(identity().folder("full") / RECORD)
    with pytest.raises(RunError, match="cannot be compared"):
        run_chapter(6, profile="mini")


def test_some_genres_are_a_run_of_their_own(world):
    chosen = {"profile": "mini", "genres": "rock, blues,metal"}
    for number in (1, 2, 3, 4, 5):
        run_chapter(number, **chosen)
    names, _ = run_chapter(6, **chosen)
    assert names["ours"].first.genres == ["blues", "metal", "rock"]
    assert "genres-blues_metal_rock" in identity(**chosen).folder("cnn").parent.name


def test_a_part_of_gtzan_in_two_folders_is_a_run_and_every_page_says_what_it_is(world, backbones, gtzan_folder, tmp_path, monkeypatch):
    for genre, numbers in (("blues", range(12)), ("rock", range(20)), ("pop", range(15))):
        for number in numbers:
            place = tmp_path / ("here" if number % 3 else "there") / genre / f"{genre}.{number:05d}.ogg"
            place.parent.mkdir(parents=True, exist_ok=True)
            sf.write(place, *sf.read(gtzan_folder / genre / f"{genre}.{number:05d}.wav"))
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join([str(tmp_path / "here"), str(tmp_path / "there")]))
    chosen = {"profile": "gtzan", "genres": "blues,rock,pop", "split": "artist", "backbone": str(backbones / "one")}
    for number in (1, 2, 4, 5, 6):
        _, shown = run_chapter(number, **{k: v for k, v in chosen.items() if k != "backbone" or number > 2})
        assert "A part of GTZAN: 47 of 300 clips (blues 12, pop 15, rock 20)" in shown, number
    assert card(identity(**chosen), "full").corpus.name == "gtzan-part"
    with pytest.raises(CorpusError, match="gtzan-part lacks .* of the clips of the split 'filtered'"):
        run_chapter(2, profile="gtzan", genres="blues,rock,pop")


def test_a_seed_without_a_record_is_said_to_have_none(begin_with):
    for number in (2, 4):
        begin_with(number, profile="mini")
    _, shown = run_chapter(6, profile="mini", seed=7)
    assert "no record with seed 7" in shown and "seed 0" in shown


def test_two_seeds_and_two_protocols_keep_all_of_their_files(begin_with):
    begin_with(4, profile="mini")
    chosen = [{"seed": 0}, {"seed": 1}, {"seed": 0, "protocol": "batch"}]
    for one in chosen[1:]:
        run_chapter(4, profile="mini", **one)
    folders = [identity("mini", **one).folder("head-only") for one in chosen]
    assert len({card(identity("mini", **one), "head-only").model_dump_json() for one in chosen}) == 3
    assert all((folder / "model.safetensors").is_file() for folder in folders) and len(set(folders)) == 3
    names, _ = run_chapter(6, profile="mini")
    assert [one.seed for one in names["ours"].runs["head-only"]] == [0, 1]
    shutil.rmtree(folders[0])
    shutil.rmtree(identity("mini").folder("musicnn"))
    names, shown = run_chapter(6, profile="mini")
    assert [one.seed for one in names["ours"].runs["head-only"]] == [1] and "no record with seed 0" in shown
