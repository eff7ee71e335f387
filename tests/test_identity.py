"""A run has one identity: equal ones share every file, unequal ones none."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import pytest
from fake_cards import make_card
from hypothesis import given
from hypothesis import strategies as st

from genre_utils import identity as module
from genre_utils.errors import ProfileError
from genre_utils.identity import (
    CONCERNS,
    OPTIONS,
    Identity,
    backbone_label,
    check_seed,
    identity,
    last_run,
    remember,
)
from genre_utils.paths import runs_dir
from genre_utils.profiles import GENRES, GTZAN_SPLITS, PROFILES, SPLITS
from genre_utils.protocol import CHOICES, CORRECTED, ORIGINAL, STUDY

PROTOCOLS = st.sets(st.sampled_from(sorted(CHOICES))).map(lambda words: ",".join(sorted(words)))
SOME_GENRES = st.one_of(st.just(""), st.sets(st.sampled_from(GENRES), min_size=2).map(lambda words: ",".join(sorted(words))))
RUNS = st.sampled_from(sorted(PROFILES)).flatmap(
    lambda profile: st.builds(
        identity,
        st.just(profile),
        st.integers(0, 2**32 - 1),
        split=st.sampled_from(("", *SPLITS, *(GTZAN_SPLITS if profile == "gtzan" else ()))),
        backbone=st.sampled_from(("", "shipped", "lab/net", "lab/net@0123abc", "lab/net_2", "lab/net-2", "other/net")),
        protocol=PROTOCOLS,
        genres=SOME_GENRES,
    )
)


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_UTILS_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def backbones(tmp_path):
    """Local backbones: two folders of one name with other weights, a copy of the first elsewhere, two fairseq files."""

    def folder(place: str, weights: bytes, config: str = "{}"):
        path = tmp_path / place
        path.mkdir(parents=True)
        (path / "config.json").write_text(config)
        (path / "model.safetensors").write_bytes(weights)
        return str(path)

    found = {"mine": folder("a/net", b"one"), "other": folder("b/net", b"two"), "copy": folder("c/net", b"one")}
    found["config"] = folder("d/net", b"one", '{"hidden_size": 8}')
    for name, content in (("file", b"three"), ("other file", b"four")):
        path = tmp_path / name / "net.pt"
        path.parent.mkdir()
        path.write_bytes(content)
        found[name] = str(path)
    return found


# --- one run, one name ------------------------------------------------------------------------------------


@given(RUNS, RUNS)
def test_two_runs_share_a_name_exactly_if_they_are_equal(one, other):
    assert (one.name() == other.name()) == (one == other)


@given(RUNS, RUNS, st.sampled_from(sorted(CONCERNS)))
def test_two_runs_share_a_folder_exactly_if_what_concerns_the_approach_is_equal(one, other, approach):
    alike = all(one.about[part] == other.about[part] for part in ("profile", *CONCERNS[approach], "seed"))
    assert (one.folder(approach) == other.folder(approach)) == alike


@given(RUNS)
def test_no_two_approaches_share_a_folder_and_every_name_is_one_folder_of_plain_characters(run):
    folders = {approach: run.folder(approach) for approach in CONCERNS}
    assert len(set(folders.values())) == len(folders)
    for approach, folder in folders.items():
        assert folder.name == approach and folder.parent.parent == runs_dir()
        assert re.fullmatch(r"[\w.@+-]+", folder.parent.name)


def test_each_part_of_an_identity_makes_another_folder(backbones):
    runs = [
        identity(),
        identity(seed=1),
        identity(seed=10),
        identity("gtzan-mini"),
        identity("gtzan"),
        identity("gtzan", split="cnn"),
        identity(split="random"),
        identity(split="random", seed=1),
        identity(protocol="rate"),
        identity(protocol="rate,batch"),
        identity(protocol=ORIGINAL),
        identity(genres="blues,rock"),
        identity(genres="blues,jazz,rock"),
        identity(backbone="lab/net"),
        identity(backbone="lab/net@0123abc"),
        identity(backbone="lab/net", protocol="rate"),
        *(identity(backbone=backbones[name]) for name in ("mine", "other", "config", "file", "other file")),
    ]
    for one, other in itertools.combinations(runs, 2):
        assert one.name() != other.name()
        assert one.folder("full") != other.folder("full"), f"{one} and {other}"


@pytest.mark.parametrize(
    ("hub", "options"),
    [("lab/net+seed-1", {"seed": 1}), ("lab/net+protocol-rate", {"protocol": "rate"}), ("lab/net@v1+seed-1", {"seed": 1})],
)
def test_a_hub_name_cannot_pose_as_another_part(hub, options):
    plain = hub.partition("+")[0]
    assert identity(backbone=hub).name() != identity(backbone=plain, **options).name()


def test_the_name_tells_what_differs_from_the_profiles_own():
    assert identity().name() == "mini"
    assert identity("mini", 1, split="random").name() == "mini+split-random+seed-1"
    assert identity(split="artist", backbone="shipped", protocol=CORRECTED, genres=",".join(GENRES)).name() == "mini"
    assert identity(backbone="lab/net@0123abc").name() == "mini+backbone-lab--net@0123abc"
    assert identity("gtzan", backbone="facebook/wav2vec2-base").name() != "gtzan", "the profile pins a revision"


@pytest.mark.parametrize("approach", ["svm", "cnn"])
def test_backbone_and_protocol_do_not_concern_what_has_no_backbone(approach):
    own = identity()
    assert identity(backbone="lab/net", protocol="rate").folder(approach) == own.folder(approach)
    for other in ({"split": "random"}, {"genres": "blues,rock"}, {"seed": 1}):
        assert identity(**other).folder(approach) != own.folder(approach)


def test_another_seed_is_the_same_run_otherwise():
    run = identity(split="random", protocol="rate")
    assert run.other_seed(5) == identity(seed=5, split="random", protocol="rate")
    assert run.seed == 0


def test_a_run_says_all_that_it_is():
    assert str(identity(seed=3, genres="rock,blues")) == (
        "profile mini, split artist, backbone shipped, protocol corrected, genres blues, rock, seed 3"
    )


# --- protocols and genres ---------------------------------------------------------------------------------


@given(st.permutations(sorted(CHOICES)), st.integers(1, len(CHOICES)))
def test_the_order_of_choices_does_not_matter(words, n):
    some = words[:n]
    assert identity(protocol=",".join(some)) == identity(protocol=", ".join(sorted(some)))


@given(st.permutations(STUDY))
def test_original_is_the_list_of_all_of_the_studys_choices(words):
    run = identity(protocol=",".join(words))
    assert run == identity(protocol=ORIGINAL) and run.about["protocol"] == ORIGINAL


def test_the_order_of_genres_does_not_matter_and_all_ten_are_no_choice():
    assert identity(genres="rock, blues,rock") == identity(genres="blues,rock")
    assert identity(genres="rock,blues").profile.genres == ("blues", "rock")
    assert identity(genres=",".join(reversed(GENRES))) == identity()


# --- parameters -------------------------------------------------------------------------------------------


@given(RUNS)
def test_parameters_make_the_same_run_again(run):
    assert set(run.parameters()) == {"profile", "seed", *OPTIONS}
    assert identity(**run.parameters()) == run
    assert identity(**json.loads(json.dumps(run.parameters()))) == run


def test_parameters_of_a_local_backbone_make_the_same_run_again(backbones):
    for place in backbones.values():
        run = identity(backbone=place)
        assert identity(**run.parameters()) == run
        assert run.profile.backbone == place and run.profile.backbone_revision is None


def test_a_relative_folder_and_one_with_an_at_are_found(backbones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "a")
    assert identity(backbone="net") == identity(backbone=backbones["mine"])
    (tmp_path / "a" / "net@home").mkdir()
    found = identity(backbone="net@home").profile
    assert (found.backbone, found.backbone_revision) == (str(tmp_path / "a" / "net@home"), None)


def test_a_chapter_is_told_the_parameters_that_it_knows_and_no_others():
    run = identity("mini", 2, split="random", protocol="rate")
    assert run.parameters() == {
        "profile": "mini", "seed": 2, "split": "random", "backbone": "", "protocol": "rate", "genres": "",
    }  # fmt: skip
    assert run.parameters(("profile", "seed")) == {"profile": "mini", "seed": 2}


# --- backbones --------------------------------------------------------------------------------------------


def test_the_label_of_a_local_backbone_is_its_name_and_its_weights_never_its_path(backbones, tmp_path):
    labels = {name: backbone_label(place) for name, place in backbones.items()}
    assert all(re.fullmatch(r"net-[0-9a-f]{8}", label) for label in labels.values())
    assert labels.pop("copy") == labels["mine"], "the same weights elsewhere are the same network"
    assert len(set(labels.values())) == len(labels)
    for place in backbones.values():
        run = identity(backbone=place)
        told = [str(run), run.name(), *run.about.values(), run.folder("full").parent.name]
        assert not [text for text in told if str(tmp_path) in text or place in text]


def test_no_record_holds_the_path_of_a_local_backbone(backbones, tmp_path):
    card = make_card("full", backbone=backbones["mine"])
    assert str(tmp_path) not in card.model_dump_json()
    assert card.backbone["name"] == backbone_label(backbones["mine"])
    assert card.is_of(identity(backbone=backbones["mine"])) and not card.is_of(identity(backbone=backbones["other"]))


def test_weights_that_change_change_the_label(backbones, tmp_path):
    before = backbone_label(backbones["mine"])
    (tmp_path / "a" / "net" / "model.safetensors").write_bytes(b"trained on")
    assert backbone_label(backbones["mine"]) != before
    notes = tmp_path / "b" / "net" / "README.md"
    other = backbone_label(backbones["other"])
    notes.write_text("a note is no weight")
    assert backbone_label(backbones["other"]) == other


def test_hub_names_and_the_shipped_one_are_their_own_labels():
    assert backbone_label("shipped") == "shipped"
    assert backbone_label("lab/net") == "lab/net"
    assert backbone_label("lab/net", "0123abc") == "lab/net@0123abc"


# --- what there is not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"profile": "maxi"}, "unknown profile 'maxi': choose one of mini, gtzan-mini, gtzan"),
        ({"profile": "gtzan_mini"}, "Did you mean 'gtzan-mini'"),
        ({"split": "artsit"}, "unknown split 'artsit' for the profile mini: choose artist, random"),
        ({"split": "cnn"}, r"\(filtered, cnn, wav2vec are lists of all of GTZAN: profile gtzan\)"),
        ({"profile": "gtzan", "split": "window"}, "choose artist, random, filtered, cnn, wav2vec$"),
        ({"protocol": "rate,shedule"}, "unknown protocol 'shedule'.*cold-head.*Did you mean 'schedule'"),
        ({"protocol": "original,rate"}, "unknown protocol 'original'"),
        ({"genres": "blues,regae"}, "unknown genre 'regae': choose some of blues.*Did you mean 'reggae'"),
        ({"genres": "blues"}, "at least two genres, not 'blues': for example genres=blues,jazz,rock"),
        ({"genres": "blues,blues"}, "at least two genres"),
        ({"seed": "three"}, "seed must be a whole number, not 'three'.*SEED=1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": -1}, "seed must lie between 0 and 4294967295, not -1"),
        ({"seed": 2**32}, "seed must lie between"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(wrong, says):
    with pytest.raises(ProfileError, match=says):
        identity(**wrong)


def test_seeds_may_be_written_as_text():
    assert check_seed("7") == check_seed(7) == identity(seed="7").seed == 7


# --- the last run -----------------------------------------------------------------------------------------


def test_the_last_run_is_the_one_that_was_remembered(backbones):
    assert last_run() == identity()
    for run in (identity("gtzan", 4, split="cnn", protocol=ORIGINAL), identity(backbone=backbones["mine"], genres="pop,rock")):
        remember(run)
        assert last_run() == run


@pytest.mark.parametrize("content", ["", "[]", "{", '{"profile": "maxi"}', '{"profile": "mini", "colour": "red"}', '{"split": 7}'])
def test_a_damaged_memory_is_forgotten(content):
    (runs_dir() / "last.json").write_text(content)
    assert last_run() == identity()


def test_an_identity_is_all_of_the_profile_so_that_no_change_of_it_is_overlooked():
    changed = Identity(replace(PROFILES["mini"], clip_s=5.0), 0)
    assert changed != identity() and module.identity() == identity()
