"""Any file that people really have: the right guesses, or one line that says what is wrong and what to do."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from fake_cards import leave
from typer.testing import CliRunner

from genre_utils.audio import load_audio
from genre_utils.errors import AudioError
from genre_utils.features import FEATURE_NAMES, clip_statistics, fit_length
from genre_utils.identity import identity, remember
from genre_utils.models import musicnn
from genre_utils.profiles import GENRES, PROFILES
from genre_utils.publish import cli
from genre_utils.publish import predict as asking
from genre_utils.records import RECORD, RunCard

CLIP_S = PROFILES["mini"].clip_s


@pytest.fixture
def tone(tmp_path):
    import soundfile

    path = tmp_path / "a tone.wav"
    seconds = np.arange(3 * 22_050) / 22_050
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 220 * seconds), 22_050)
    return path


def put_cnn(seed: int = 0, **options) -> None:
    """An untrained CNN with its record, where a run leaves the trained one."""
    import torch

    from genre_utils.models.cnn import GenreCNN
    from genre_utils.models.saved import save_model

    run = identity(seed=seed, **options)
    torch.manual_seed(seed)
    leave("cnn", seed, **options)
    save_model(GenreCNN(len(run.profile.genres)), run.folder("cnn"))


def put_svm(**options) -> None:
    from genre_utils.models.svm import save_svm

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 6)
    leave("svm", **options)
    folder = identity(**options).folder("svm")
    clips = [f"{GENRES[label]}.{i % 6:05d}" for i, label in enumerate(labels)]
    save_svm(folder, rng.normal(size=(60, 57)) + labels[:, None], labels, clips, C=20.0, gamma="scale")


@pytest.fixture
def trained(checkout):
    put_cnn()
    put_svm()


def run_predict(*arguments, own: bool = True):
    return CliRunner().invoke(cli.app, ["predict", *map(str, arguments), *(["--own"] if own else [])])


def predicted(*arguments, own: bool = True) -> dict:
    result = run_predict(*arguments, "--json", own=own)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_before_any_run_predict_says_how_to_make_one(checkout, tone, call):
    code, _, error = call("predict", str(tone), "--own")
    assert code == 2
    assert "python -m genre_utils run --profile mini --chapters 2,4,5" in error


def test_a_network_that_knows_real_music_answers_before_any_run_and_first(checkout, tone, music, plain):
    found = predicted(tone, own=False)
    assert list(found["models"]) == ["tags"] and "clips of GTZAN (split filtered)" in found["models"]["tags"]
    assert found["run"] is None, "no run was asked"
    put_cnn()
    (answer,) = predicted(plain, own=False)["files"]
    assert list(answer["guesses"]) == ["tags"], "models of composed music answer only when they are asked"
    assert list(predicted(plain)["models"]) == ["tags", "cnn"]
    assert list(predicted(plain, "--profile", "mini", own=False)["models"]) == ["tags", "cnn"]
    scores = list(answer["tags"].values())
    assert len(scores) == 5 and scores == sorted(scores, reverse=True) and set(answer["tags"]) <= set(musicnn.TAGS)


def test_a_network_that_knows_real_music_hears_loud_and_quiet_alike(checkout, music, tmp_path):
    for name, db in (("usual", 0), ("quiet", -30)):
        sf.write(tmp_path / f"{name}.wav", music * np.float32(10 ** (db / 20)), 22_050, subtype="FLOAT")
    usual, quiet = (predicted(tmp_path / f"{name}.wav", own=False)["files"][0] for name in ("usual", "quiet"))
    assert quiet["tags"] == pytest.approx(usual["tags"], abs=0.01)
    assert quiet["guesses"]["tags"][0]["genre"] == usual["guesses"]["tags"][0]["genre"]


def test_models_of_real_music_answer_unasked(checkout, plain):
    remember(identity("gtzan-mini"))
    assert list(predicted(plain, own=False)["models"]) == ["tags"], "none was trained"
    put_cnn(profile="gtzan-mini")
    assert list(predicted(plain, own=False)["models"]) == ["tags", "cnn"]


def test_real_clips_that_it_has_not_learned_from_are_named(checkout):
    folder = os.environ.get("GTZAN_MINI_DIR")
    if not folder:
        pytest.skip("needs GTZAN_MINI_DIR, a folder of real clips")
    from genre_utils.splits import gtzan_split

    learned = gtzan_split("filtered").train
    files = [file for file in sorted(Path(folder).glob("*/*.wav")) if file.stem not in learned][::4]
    answers = predicted(*files, own=False)["files"]
    right = sum(answer["guesses"]["tags"][0]["genre"] == Path(answer["file"]).parent.name for answer in answers)
    assert len(files) > 5 and right > 0.6 * len(files), f"{right} of {len(files)}"


def test_predict_names_the_likeliest_genres_of_each_model(trained, tone):
    found = predicted(tone, "--top", 4)
    (answer,) = found["files"]
    assert set(answer["guesses"]) == {"tags", "svm", "cnn"}
    for guesses in answer["guesses"].values():
        scores = [g["probability"] for g in guesses]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1.001
        assert {g["genre"] for g in guesses} <= set(GENRES)


def test_predict_says_what_each_model_learnt_from(trained, tone):
    found = predicted(tone)
    assert found["run"] == identity().about
    card = RunCard.load(identity().folder("cnn") / RECORD)
    assert found["models"]["cnn"] == (
        f"CNN on mel-spectrograms: trained on 60 clips of the corpus toy (profile mini, split artist, seed 0); {card.accuracy} "
        "on its 30 test clips"
    )


def test_predict_takes_the_models_of_one_run_alone(checkout, tone):
    put_cnn()
    put_svm(split="random")
    put_cnn(seed=1, split="random")
    assert set(predicted(tone)["models"]) == {"tags", "cnn"}, "nothing was run to its end: the default run"
    remember(identity(split="random"))
    found = predicted(tone)
    assert set(found["models"]) == {"tags", "svm"} and found["run"]["split"] == "random", "the last run"
    assert set(predicted(tone, "--split", "random", "--seed", 1)["models"]) == {"tags", "cnn"}
    assert predicted(tone, "--profile", "mini")["run"] == identity().about
    assert run_predict(tone, "--split", "random", "--seed", 2).exit_code != 0


def test_models_of_some_genres_name_those_and_no_others(checkout, tone):
    put_cnn(genres="blues,jazz,rock")
    (answer,) = predicted(tone, "--genres", "rock,blues,jazz", "--top", 10)["files"]
    assert {g["genre"] for g in answer["guesses"]["cnn"]} == {"blues", "jazz", "rock"}


def test_a_bad_file_is_named_and_the_others_are_still_predicted(trained, tone, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("no music")
    result = run_predict(bad, tone, tmp_path / "missing.wav", "--json")
    assert result.exit_code == 1
    first, second, third = json.loads(result.stdout)["files"]
    assert "notes.txt" in first["error"] and "guesses" in second and "missing.wav" in third["error"]


def test_a_head_of_another_backbone_is_refused(trained, tone, call):
    from genre_utils.models.saved import save_model
    from genre_utils.models.wav2vec import HeadClassifier

    leave("head-only")
    save_model(HeadClassifier(5, 384), identity().folder("head-only"), {"backbone": "0123", "window_s": 5})
    code, _, error = call("predict", str(tone), "--own")
    assert code == 2
    assert "trained on other weights than shipped has now: run chapter 4 again" in error


def test_a_model_without_its_files_is_named(checkout, tone, call):
    leave("cnn")
    code, _, error = call("predict", str(tone), "--own")
    assert code == 2 and "config.json is missing" in error.replace("\n", " ")


def test_predict_prints_a_table(trained, tone):
    result = run_predict(tone)
    assert result.exit_code == 0 and "cnn" in result.stdout and "%" in result.stdout
    assert f"The models of the run ({identity()}) know composed music alone" in result.stdout


def test_a_stored_svm_predicts_as_the_fitted_one(tmp_path):
    from genre_utils.models.svm import load_svm, probabilities, rbf_svm, save_svm

    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(10), 6)
    features, heard = rng.normal(size=(60, 57)) + labels[:, None], rng.normal(size=(5, 57)) + 3
    save_svm(tmp_path, features, labels, [f"clip {i}" for i in range(60)], C=5.0, gamma=0.01)
    expected = probabilities(rbf_svm(5.0, 0.01), features, labels, heard)
    np.testing.assert_allclose(load_svm(tmp_path)[0].predict_proba(heard), expected)


def test_a_damaged_svm_is_refused(tmp_path):
    from genre_utils.errors import CheckpointError
    from genre_utils.models.svm import load_svm

    with pytest.raises(CheckpointError, match="run chapter 2 again"):
        load_svm(tmp_path)


# --- Odd files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def music():
    """Six seconds with a beat and a tune."""
    t = np.arange(6 * 22_050) / 22_050
    rng = np.random.default_rng(0)
    tune = np.sin(2 * np.pi * 220 * 2 ** (np.floor(2 * t) % 5 / 12) * t)
    beat = rng.normal(size=len(t)) * np.exp(-8 * (t % 0.5))
    return (0.25 * tune + 0.2 * beat).astype(np.float32)


@pytest.fixture
def plain(tmp_path, music):
    path = tmp_path / "plain.wav"
    sf.write(path, music, 22_050)
    return path


def guesses(path) -> dict:
    (answer,) = predicted(path)["files"]
    return answer["guesses"]


def alike(some: dict, others: dict) -> bool:
    """Equal guesses, up to the rounding of samples."""
    return some.keys() == others.keys() and all(
        [g["genre"] for g in some[name]] == [g["genre"] for g in others[name]]
        and [g["probability"] for g in some[name]] == pytest.approx([g["probability"] for g in others[name]], abs=0.002)
        for name in some
    )


def test_channels_that_cancel_each_other_are_heard_as_the_plain_file(trained, plain, music, tmp_path):
    sf.write(tmp_path / "anti.wav", np.stack([music, -music], axis=1), 22_050)
    assert alike(guesses(tmp_path / "anti.wav"), guesses(plain))


def test_floats_that_were_never_scaled_are_heard_as_the_plain_file(trained, music, tmp_path):
    for name, scale in (("scaled.wav", 32_767 / 32_768), ("unscaled.wav", 32_767)):
        sf.write(tmp_path / name, music * np.float32(scale), 22_050, subtype="FLOAT")
    assert alike(guesses(tmp_path / "unscaled.wav"), guesses(tmp_path / "scaled.wav"))


def test_nothing_is_never_judged(trained, tmp_path, music):
    for name, wave in {
        "digital.wav": np.zeros(3 * 22_050),
        "offset.wav": np.full(3 * 22_050, 0.3),
        "loud_before_what_is_heard.wav": np.concatenate([np.zeros(90 * 22_050), music[:50]]),
    }.items():
        sf.write(tmp_path / name, wave, 22_050)
        result = run_predict(tmp_path / name)
        assert result.exit_code == 1 and "holds nothing to judge" in result.stderr, name


def test_silent_parts_of_a_file_are_left_out(trained, tmp_path, music):
    nothing = np.zeros(round(2 * CLIP_S) * 22_050)
    sf.write(tmp_path / "late.wav", np.concatenate([nothing, fit_length(music, round(CLIP_S) * 22_050), nothing]), 22_050)
    (answer,) = predicted(tmp_path / "late.wav")["files"]
    assert [moment["start_s"] for moment in answer["along"]] == [2 * CLIP_S]


def test_a_quiet_copy_has_the_same_guesses_and_a_note(checkout, tmp_path, music):
    from genre_utils.models.svm import save_svm

    leave("svm")
    rng, label = np.random.default_rng(1), np.arange(60) // 6
    some = [music * scale + 0.01 * rng.normal(size=len(music)) * k for k, scale in zip(label, rng.uniform(0.7, 1.4, 60), strict=True)]
    features = np.stack([clip_statistics(wave[:22_050].astype(np.float32), 22_050) for wave in some])
    assert np.ptp(features[:, FEATURE_NAMES.index("rms_mean")]) > 0
    save_svm(identity().folder("svm"), features, label, [f"clip{i}" for i in range(60)], C=5.0, gamma="scale")
    for name, db in (("usual.wav", 0), ("quiet.wav", -20), ("quieter.wav", -40)):
        sf.write(tmp_path / name, music * np.float32(10 ** (db / 20)), 22_050, subtype="FLOAT")
    usual, quiet, quieter = (predicted(tmp_path / f"{name}.wav")["files"][0] for name in ("usual", "quiet", "quieter"))
    assert usual["notes"] == []
    for one in (quiet, quieter):
        assert one["guesses"]["svm"][0]["genre"] == usual["guesses"]["svm"][0]["genre"]
        assert abs(one["guesses"]["svm"][0]["probability"] - usual["guesses"]["svm"][0]["probability"]) < 0.1
        assert "unlike that of the training clips" in one["notes"][0]


def test_a_recorder_that_lost_power_and_a_padded_tag_are_decoded(plain, music, tmp_path):
    unfinished = bytearray(plain.read_bytes())
    unfinished[4:8] = unfinished[40:44] = bytes(4)
    (tmp_path / "unfinished.wav").write_bytes(unfinished)
    assert np.array_equal(load_audio(tmp_path / "unfinished.wav")[0], load_audio(plain)[0])
    sf.write(tmp_path / "song.mp3", music, 22_050, format="MP3")
    tag = b"ID3\x03\x00\x00" + bytes([0, 0, 7, 104]) + bytes(1000)
    (tmp_path / "padded.mp3").write_bytes(tag + bytes(70_000) + (tmp_path / "song.mp3").read_bytes())
    assert np.array_equal(load_audio(tmp_path / "padded.mp3")[0], load_audio(tmp_path / "song.mp3")[0])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("clip.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1323632\n", "git lfs pull"),
        ("clip.mp3", b"\n<!DOCTYPE html><html>Sign in</html>", "a web page"),
        ("._song.mp3", bytes.fromhex("0005160700020000") + b"Mac OS X        ", "without ._ before its name"),
        ("tune.mid", b"MThd\x00\x00\x00\x06", "notes, not sound"),
        ("song.m4a", struct.pack(">I", 28) + b"ftypM4A " + bytes(400), "cut short"),
    ],
)
def test_what_is_no_sound_is_named(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    if name.endswith("m4a") and not shutil.which("ffmpeg"):
        told = "install ffmpeg"
    with pytest.raises(AudioError) as error:
        load_audio(tmp_path / name)
    assert told in str(error.value) and str(tmp_path / name) in str(error.value)


def test_m4a_is_decoded_with_ffmpeg_and_names_it_without(plain, music, tmp_path, monkeypatch):
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    subprocess.run(["ffmpeg", "-v", "error", "-i", plain, "-c:a", "aac", tmp_path / "phone.m4a"], check=True)
    wave, rate_hz = load_audio(tmp_path / "phone.m4a")
    assert rate_hz == 22_050 and abs(len(wave) - len(music)) < 4_096
    again = load_audio(tmp_path / "phone.m4a", offset_s=2.0, duration_s=1.0)[0]
    assert np.array_equal(again, wave[2 * 22_050 : 3 * 22_050])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="takes ffmpeg to decode: install ffmpeg"):
        load_audio(tmp_path / "phone.m4a")


def test_a_drive_that_does_not_deliver_is_named(plain, monkeypatch):
    def broken(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sf, "SoundFile", broken)
    with pytest.raises(AudioError, match="the disk or drive did not deliver"):
        load_audio(plain)


def test_a_folder_is_searched_without_what_a_mac_keeps_beside(trained, plain, tmp_path):
    card = tmp_path / "card" / "below"
    card.mkdir(parents=True)
    shutil.copy(plain, card / "Song.WAV")
    (card / "._Song.WAV").write_bytes(bytes.fromhex("0005160700020000"))
    (card / "cover.jpg").write_bytes(b"no sound")
    (answer,) = predicted(tmp_path / "card")["files"]
    assert answer["file"] == str(card / "Song.WAV") and answer["guesses"] == guesses(plain)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(cli.app, ["predict", str(tmp_path / "empty")])
    assert result.exit_code != 0 and "no audio file in the folder" in str(result.exception)


def in_a_terminal(folder, *arguments, **environment):
    """A real process, with bytes for its answer."""
    command = [sys.executable, "-m", "genre_utils", "predict", "--own", *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=os.environ | environment, capture_output=True, timeout=300)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_not_utf_8_costs_nobody_the_answer(trained, checkout, plain):
    name = b"caf\xe9.wav"
    shutil.copy(plain, os.fsencode(checkout) + b"/" + name)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = in_a_terminal(checkout, name, str(plain), b"b\xe9d.wav", "--json", **ascii_only)
    assert done.returncode == 1
    first, second, third = json.loads(done.stdout)["files"]
    assert os.fsencode(first["file"]) == name and first["guesses"] == second["guesses"] and "no such file" in third["error"]
    done = in_a_terminal(checkout, name, str(plain), **ascii_only)
    assert done.returncode == 0 and done.stdout.decode("ascii").count("cnn") >= 2 and not done.stderr


def test_csv_has_a_row_for_each_file_approach_and_moment(trained, plain, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no music")
    result = run_predict(plain, tmp_path / "bad.wav", "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    (answer,) = predicted(plain)["files"]
    assert len(rows) == 3 * len(answer["along"]) + 1 and rows[-1]["error"]
    for row in rows[:-1]:
        assert sum(float(row[genre]) for genre in GENRES) == pytest.approx(1, abs=1e-3)


def test_the_nearest_training_clip_of_a_training_clip_is_itself(checkout, plain):
    from genre_utils.models.svm import save_svm

    leave("svm")
    own = clip_statistics(fit_length(load_audio(plain)[0], round(CLIP_S * 22_050)), 22_050)
    features = np.stack([own * scale for scale in np.linspace(1, 3, 60)])
    save_svm(identity().folder("svm"), features, np.arange(60) // 6, [f"clip{i}" for i in range(60)], C=1.0, gamma="scale")
    (answer,) = predicted(plain)["files"]
    assert answer["nearest"][0] == "clip0"


def test_an_hour_is_heard_in_excerpts_and_opened_once(trained, tmp_path, music, monkeypatch):
    with sf.SoundFile(tmp_path / "hour.flac", "w", 22_050, 2) as file:
        for _ in range(600):
            file.write(np.stack([music, 0.8 * music], axis=1))
    opened, read = [], []
    real = asking.open_audio

    def counted(path):
        opened.append(path)
        return real(path)

    monkeypatch.setattr(asking, "open_audio", counted)
    read_all = sf.SoundFile.read
    monkeypatch.setattr(sf.SoundFile, "read", lambda self, n=-1, *a, **k: (read.append(n), read_all(self, n, *a, **k))[1])
    began = time.monotonic()
    (answer,) = predicted(tmp_path / "hour.flac")["files"]
    assert answer["seconds"] == 3600 and len(answer["along"]) == asking.EXCERPTS and len(opened) == 1
    assert sum(read) <= asking.EXCERPTS * CLIP_S * 22_050, f"{read} after {time.monotonic() - began:.0f} s"


def test_a_working_folder_that_may_only_be_read_keeps_nobody_from_an_answer(trained, plain, monkeypatch):
    from genre_utils import cache

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache, "write_whole", refuse)
    store = cache.Cache()
    with pytest.warns(UserWarning, match="what is computed is not kept"):
        assert store.put("any", {"key": 1}, np.zeros(2)) is False
    assert store.get("any", {"key": 1}) is None
    assert set(guesses(plain)) == {"tags", "svm", "cnn"}


@pytest.mark.parametrize(("protocol", "rate_hz"), [("corrected", 16_000), ("rate", 22_050)])
def test_a_network_is_asked_at_the_sample_rate_that_it_learned_from(monkeypatch, tmp_path, protocol, rate_hz):
    heard = []
    monkeypatch.setattr("genre_utils.models.saved.load_model", lambda folder: None)
    monkeypatch.setattr(asking, "predict_clips", lambda *_, **__: None)
    asking._predictor("full", tmp_path, identity("mini", protocol=protocol).profile)(heard.append)
    assert heard == [rate_hz]


def test_the_shipped_network_answers_the_same_whatever_ran_last(checkout, tone):
    answers = []
    for profile in ("mini", "gtzan-mini"):
        remember(identity(profile))
        answers.append(predicted(tone, own=False)["files"])
    assert answers[0] == answers[1]


def test_a_damaged_spot_costs_the_excerpts_that_it_touches(checkout, tmp_path):
    path = tmp_path / "scratched.mp3"
    sf.write(path, 0.3 * np.sin(2 * np.pi * 220 * np.arange(180 * 22_050) / 22_050), 22_050, format="MP3")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4_000] = bytes(4_000)
    path.write_bytes(content)
    answer = predicted(path, own=False)["files"][0]
    assert 0 < len(answer["along"]) < asking.EXCERPTS and "the file is damaged: the excerpts from" in answer["notes"][0]


def test_a_pipe_a_name_too_long_and_an_empty_folder_cost_nobody_the_answer(checkout, tone, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "empty").mkdir()
    places = tmp_path / "pipe.wav", "x" * 300 + ".wav", tmp_path / "empty", tone
    result = run_predict(*places, "--json", own=False)
    answers = json.loads(result.stdout)["files"]
    assert result.exit_code == 1
    assert [next(word for word in ("pipe or a device", "too long", "is a folder", "") if word in a.get("error", "")) for a in answers] == [
        "pipe or a device", "too long", "is a folder", ""]  # fmt: skip


def test_the_svm_says_when_it_knows_nothing_alike(trained, tone):
    assert any("unlike those of every training clip" in note for note in predicted(tone)["files"][0]["notes"])


