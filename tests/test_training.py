"""fit(): deterministic, resumable, and honest about its checkpoints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from genre_utils import training
from genre_utils.device import kept_mb
from genre_utils.errors import GenreError
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.saved import WEIGHTS
from genre_utils.models.wav2vec import GenreWav2Vec, HeadClassifier, random_backbone
from genre_utils.profiles import Training
from genre_utils.training import FIT, fit, set_seed, steps_per_epoch
from genre_utils.windows import WindowSet, predict_clips

TRAINING = Training(epochs=3, batch_size=8, learning_rate=3e-3, window_s=1.0, patience=3)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pooled(n: int = 40, seed: int = 0):
    """Pooled states of two genres that one feature separates."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    states = rng.standard_normal((n, 3, 8)).astype(np.float32)
    states[:, -1, 0] += 4 * labels
    return states, labels


def spectrograms(n: int = 16):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    images = 0.2 * rng.random((n, 1, 32, 40)).astype(np.float32)
    images[labels == 1, :, :16] += 0.7
    return images, labels


def head(seed: int = 0) -> HeadClassifier:
    set_seed(seed)
    return HeadClassifier(layers=3, features=8, n_genres=2, head="mlp")


def sets(data, window=None):
    inputs, labels = data
    return WindowSet(inputs, labels, window, train=True), WindowSet(inputs, labels, window)


def same_weights(a, b) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


class StopAfter(TrainerCallback):
    """A power cut after the checkpoint of an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def on_save(self, args, state, control, **kwargs):
        if round(state.epoch) == self.epoch:
            raise KeyboardInterrupt


def test_training_learns_and_reports_every_epoch(tmp_path):
    result = fit(head(), *sets(pooled()), replace(TRAINING, epochs=12, patience=12), seed=0, out_dir=tmp_path,
                 progress=False)  # fmt: skip
    states, labels = pooled(seed=1)
    assert (predict_clips(result.model, states).argmax(1) == labels).mean() > 0.8
    assert [row["epoch"] for row in result.history] == list(range(1, 13))
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert set(result.history[0]) == {
        "epoch",
        "train_loss",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "seconds",
    }
    assert result.peak_memory_mb > 50 and result.seconds > 0
    assert not (tmp_path / "checkpoints").exists()


class Exponential(torch.nn.Module):
    """Autograd keeps its input and its result; not the weight, which is there anyway."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1000))

    def forward(self, input_values):
        return {"loss": (self.weight * input_values).exp().sum()}


class Fed(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_values):
        return {"loss": self.inner(input_values).sum()}


def test_what_a_step_keeps_is_counted_to_the_byte():
    assert kept_mb(Exponential(), {"input_values": torch.zeros(3, 1000)}) == 2 * 3 * 1000 * 4 / 2**20


def test_asking_what_a_step_keeps_leaves_the_model_and_the_random_numbers_as_they_were():
    images, labels = spectrograms()
    batch = {"input_values": torch.from_numpy(images), "labels": torch.from_numpy(labels)}
    model, untouched = GenreCNN(2).eval(), GenreCNN(2)
    untouched.load_state_dict(model.state_dict())
    torch.manual_seed(3)
    alone = torch.rand(2)
    torch.manual_seed(3)
    assert kept_mb(model, batch) > images.nbytes / 2**20
    assert same_weights(model, untouched) and not model.training  # running statistics too
    assert torch.equal(torch.rand(2), alone)


def test_a_step_that_memory_does_not_hold_leaves_the_model_as_it_was():
    class TooLarge(torch.nn.Linear):
        def forward(self, input_values):
            raise torch.OutOfMemoryError

    model = TooLarge(1, 1).eval()
    with pytest.raises(torch.OutOfMemoryError):
        kept_mb(model, {"input_values": torch.zeros(1, 1)})
    assert not model.training


def test_parts_that_lie_on_another_device_are_brought_together():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2, device="meta"), torch.nn.Linear(2, 1))  # meta: the one other device everywhere
    kept_mb(Fed(model), {"input_values": torch.zeros(4, 3)})
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


def test_a_training_begins_on_the_default_device(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "default_device", lambda: "meta")
    model = head()
    with pytest.raises(NotImplementedError, match="meta tensor"):  # it has no numbers to train on, but it is where it was sent
        fit(model, *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path, progress=False, precision="fp32")
    assert {weight.device.type for weight in model.parameters()} == {"meta"}


def test_the_memory_that_a_training_needs_is_said_before_it(tmp_path, capsys):
    images, labels = spectrograms(64)
    images = np.tile(images, (1, 1, 4, 8))  # (64, 1, 128, 320): a step keeps far more than anything else moves
    brief = replace(TRAINING, epochs=1, batch_size=16)
    result = fit(GenreCNN(2), *sets((images, labels)), brief, seed=0, out_dir=tmp_path, progress=True, precision="fp32")
    said = capsys.readouterr().out
    expected, in_use, _ = (float(number.replace(",", "")) for number in re.findall(r"([\d,]+) MB", said))
    if torch.cuda.is_available():
        assert result.peak_gpu_mb < 2 * expected
    else:
        assert 0.6 * expected < result.peak_memory_mb - in_use < 1.6 * expected


def test_the_best_epoch_is_restored(tmp_path):
    result = fit(
        head(), *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path, progress=False, precision="fp32"
    )
    states, labels = pooled()
    best = result.history[result.best_epoch - 1]
    accuracy = (predict_clips(result.model, states, precision="fp32").argmax(1) == labels).mean()
    assert accuracy == pytest.approx(best["val_accuracy"])
    assert best["val_accuracy"] == max(row["val_accuracy"] for row in result.history)


def test_training_stops_when_validation_stops_improving(tmp_path):
    states, labels = pooled()
    val = WindowSet(states, 1 - labels)  # every step in training makes validation worse
    eager = replace(TRAINING, epochs=40, patience=2, learning_rate=1e-2)
    result = fit(
        head(), WindowSet(states, labels, train=True), val, eager, seed=0, out_dir=tmp_path, progress=False
    )
    assert len(result.history) < 40
    assert len(result.history) == result.best_epoch + 2


def test_equal_seeds_give_equal_weights_and_unequal_ones_do_not(tmp_path):
    fits = [
        fit(
            GenreCNN(2),
            *sets(spectrograms(), 32),
            TRAINING,
            seed=seed,
            out_dir=tmp_path / str(i),
            progress=False,
        )
        for i, seed in enumerate((1, 1, 2))
        if set_seed(0) is None
    ]
    assert same_weights(fits[0].model, fits[1].model)
    assert not same_weights(fits[0].model, fits[2].model)


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_fit_ends_as_if_it_had_not_been(tmp_path, stop):
    def run(name, **options):
        set_seed(0)
        return fit(GenreCNN(2), *sets(spectrograms(), 32), TRAINING, seed=0, out_dir=tmp_path / name, progress=False,
                   **options)  # fmt: skip

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", callbacks=[StopAfter(stop)])
    resumed = run("cut")
    assert same_weights(whole.model, resumed.model)
    assert [row["val_loss"] for row in whole.history] == [row["val_loss"] for row in resumed.history]
    assert resumed.best_epoch == whole.best_epoch


def test_an_interrupted_wav2vec_fit_ends_as_if_it_had_not_been(tmp_path):
    waves = np.random.default_rng(0).standard_normal((8, 8000)).astype(np.float32)

    def run(name, **options):
        set_seed(0)
        data = sets((waves, np.arange(8) % 2), 6400)
        model = GenreWav2Vec(random_backbone(0), 2)
        return fit(model, *data, replace(TRAINING, epochs=2), seed=0, out_dir=tmp_path / name, progress=False,
                   **options)  # fmt: skip

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", callbacks=[StopAfter(1)])
    assert same_weights(whole.model, run("cut").model)


def test_patience_survives_an_interruption(tmp_path):
    states, labels = pooled()
    val, train = WindowSet(states, 1 - labels), WindowSet(states, labels, train=True)
    eager = replace(TRAINING, epochs=20, patience=3, learning_rate=1e-2)
    whole = fit(head(), train, val, eager, seed=0, out_dir=tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(head(), train, val, eager, seed=0, out_dir=tmp_path / "cut", progress=False,
            callbacks=[StopAfter(len(whole.history) - 1)])  # fmt: skip
    resumed = fit(head(), train, val, eager, seed=0, out_dir=tmp_path / "cut", progress=False)
    assert len(resumed.history) == len(whole.history)


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    whole = fit(head(), *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(head(), *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path / "cut", progress=False,
            callbacks=[StopAfter(2)])  # fmt: skip
    newest = max(
        (tmp_path / "cut" / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1])
    )
    (newest / "trainer_state.json").write_text("{")
    (newest / "model.safetensors").write_bytes(b"half")
    resumed = fit(head(), *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path / "cut", progress=False)
    assert same_weights(whole.model, resumed.model)


def test_a_finished_fit_is_reused_only_if_nothing_changed(tmp_path):
    def run(**changes):
        data = sets(pooled(seed=changes.pop("data", 0)))
        return fit(head(), *data, replace(TRAINING, **changes), seed=0, out_dir=tmp_path, progress=False)

    first, again = run(), run()
    assert not first.reused and again.reused
    assert same_weights(first.model, again.model) and first.history == again.history
    assert not run(learning_rate=1e-3).reused
    assert not run(data=1).reused
    (tmp_path / WEIGHTS).write_bytes(b"damaged")
    assert json.loads((tmp_path / FIT).read_text())["key"]
    assert not run(data=1).reused


def test_a_finished_fit_of_other_settings_is_not_reused(tmp_path):
    """Two heads with the same first weights that read another layer are two models: the key has to know the settings."""

    def run(layer: int):
        set_seed(0)
        model = HeadClassifier(layers=3, features=8, n_genres=2, head="mlp", layer=layer)
        return fit(model, *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path / "same", progress=False)

    last, first = run(-1), run(0)
    assert not last.reused and not first.reused
    assert not same_weights(last.model, first.model)
    set_seed(0)
    alone = HeadClassifier(layers=3, features=8, n_genres=2, head="mlp", layer=0)
    alone = fit(alone, *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path / "alone", progress=False)
    assert same_weights(first.model, alone.model)
    assert run(0).reused


class Steps(TrainerCallback):
    """Counts the steps."""

    def __init__(self):
        self.taken = 0

    def on_step_end(self, args, state, control, **kwargs):
        self.taken += 1


@pytest.mark.parametrize(("clips", "batch", "steps"), [(8, 4, 2), (9, 4, 2), (10, 4, 3), (11, 4, 3), (61, 4, 15), (5, 8, 1)])
@pytest.mark.parametrize("val_clips", [8, 11])
def test_a_single_clip_left_over_is_no_batch(tmp_path, clips, batch, steps, val_clips):
    """Batch normalisation cannot work with one clip. What is scored is never left out, whatever the training clips are."""
    states, labels = pooled(clips)
    train, val = WindowSet(states, labels, train=True), WindowSet(*pooled(val_clips, seed=1))
    counter, training = Steps(), replace(TRAINING, batch_size=batch)
    result = fit(head(), train, val, training, seed=0, out_dir=tmp_path, progress=False, callbacks=[counter])
    assert steps_per_epoch(clips, batch) == steps
    assert counter.taken == steps * TRAINING.epochs
    assert 1 <= result.best_epoch <= TRAINING.epochs
    best = result.history[result.best_epoch - 1]["val_accuracy"]
    assert best == max(row["val_accuracy"] for row in result.history)
    assert (best * val_clips) == pytest.approx(round(best * val_clips)), "accuracy is a share of all validation clips"


def test_every_clip_is_heard_although_one_is_left_out_of_an_epoch(tmp_path):
    states, labels = pooled(9)
    heard = []

    class Listening(WindowSet):
        def __getitem__(self, index):
            heard.append(index)
            return super().__getitem__(index)

    train = Listening(states, labels, train=True)
    fit(head(), train, WindowSet(*pooled(8)), replace(TRAINING, epochs=12, patience=12, batch_size=4), seed=0,
        out_dir=tmp_path, progress=False)  # fmt: skip
    epochs = [heard[start : start + 8] for start in range(0, len(heard), 8)]
    assert len(epochs) == 12 and all(len(set(epoch)) == 8 for epoch in epochs)
    assert set(heard) == set(range(9))
    assert len({(set(range(9)) - set(epoch)).pop() for epoch in epochs}) > 3, "it is another clip each time"


def test_the_reported_loss_is_the_mean_over_a_batch(tmp_path):
    """The trainer must not scale the loss by a number of items: see training._train."""
    waves, labels = np.random.default_rng(0).standard_normal((8, 4000)).astype(np.float32), np.arange(8) % 2
    set_seed(0)
    model = GenreWav2Vec(random_backbone(0), 2, dropout=0.0).freeze("backbone")
    result = fit(model, *sets((waves, labels)), replace(TRAINING, epochs=1, learning_rate=1e-9), seed=0,
                 out_dir=tmp_path, progress=False, precision="fp32")  # fmt: skip
    model.train()
    with torch.no_grad():
        loss = float(model(torch.from_numpy(waves), torch.from_numpy(labels))["loss"])
    assert result.history[0]["train_loss"] == pytest.approx(loss, rel=1e-3)


class Card(GenreWav2Vec):
    """On a GPU whose memory holds `most` excerpts at once, twice as many with gradient checkpoints."""

    def __init__(self, most: int, **options):
        super().__init__(random_backbone(0), 2, head="study", layer=-1, dropout=0.0, **options)
        self.most, self.fed = most, []

    def forward(self, input_values, labels=None):
        room = self.most * (2 if self.backbone.model.is_gradient_checkpointing else 1)
        if self.training and len(input_values) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if self.training:
            self.fed.append(len(input_values))
        return super().forward(input_values, labels)


def test_a_batch_that_a_gpu_does_not_hold_is_fed_in_parts_to_the_same_effect(tmp_path, capsys):
    waves, labels = np.random.default_rng(0).standard_normal((12, 4000)).astype(np.float32), np.arange(12) % 2
    found = {}
    for most in (8, 4, 2):
        set_seed(0)
        card = Card(most).freeze("encoder")
        card.backbone.model.config.mask_time_prob = 0.0
        slow = replace(TRAINING, epochs=1, learning_rate=1e-4)
        fit(card, *sets((waves, labels)), slow, seed=0, out_dir=tmp_path / str(most), progress=False, precision="fp32")
        found[most] = torch.cat([w.detach().flatten() for w in card.parameters()])
        assert sum(card.fed) == 12 and max(card.fed) == min(8, 2 * most)
        assert ("gradient checkpoints" in capsys.readouterr().out) == (most < 8)
    for most in (4, 2):
        assert torch.allclose(found[most], found[8], atol=2e-6)


def test_a_gpu_without_room_for_two_excerpts_is_an_error_that_says_what_to_do(tmp_path):
    waves, labels = np.zeros((8, 4000), np.float32), np.arange(8) % 2
    with pytest.raises(GenreError, match="close what else uses it"):
        fit(Card(0), *sets((waves, labels)), TRAINING, seed=0, out_dir=tmp_path, progress=False, precision="fp32")


def test_a_gpu_that_two_excerpts_fill_is_told_of_and_used_all_the_same(tmp_path, capsys):
    waves, labels = np.random.default_rng(0).standard_normal((8, 4000)).astype(np.float32), np.arange(8) % 2
    brief = replace(TRAINING, epochs=1)
    fit(card := Card(1).freeze("encoder"), *sets((waves, labels)), brief, seed=0, out_dir=tmp_path, progress=True, precision="fp32")
    assert "already more than the GPU has free" in capsys.readouterr().out and max(card.fed) == 2


def test_nothing_is_printed_while_training(tmp_path, capfd):
    fit(head(), *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path, progress=False)
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_a_frozen_model_is_refused(tmp_path):
    with pytest.raises(GenreError, match="nothing to train"):
        fit(head().requires_grad_(False), *sets(pooled()), TRAINING, seed=0, out_dir=tmp_path, progress=False)


def test_an_exploding_loss_stops_the_training(tmp_path):
    states, labels = pooled()
    states[0] = np.inf
    with pytest.raises(GenreError, match="lower the learning rate"):
        fit(head(), *sets((states, labels)), TRAINING, seed=0, out_dir=tmp_path, progress=False)


TWO = """
import sys
from pathlib import Path
import numpy as np
import torch
from genre_utils.models.wav2vec import HeadClassifier
from genre_utils.profiles import Training
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet
torch.set_num_threads(1)
rng, labels = np.random.default_rng(0), np.arange(32) % 2
states = rng.standard_normal((32, 3, 8)).astype(np.float32)
states[:, -1, 0] += 2 * labels
set_seed(0)
model = HeadClassifier(3, 8, 2, head="study", layer=-1, dropout=0.0)
training = Training(epochs=3, batch_size=8, learning_rate=1e-2, window_s=1.0, patience=3)
for _ in range(2):
    sets = WindowSet(states, labels, train=True), WindowSet(states, labels)
    result = fit(model, *sets, training, seed=0, out_dir=sys.argv[1], progress=False, precision="fp32")
    print("reused" if result.reused else [round(row["val_loss"], 5) for row in result.history])
    set_seed(0)
    model = HeadClassifier(3, 8, 2, head="study", layer=-1, dropout=0.0)
"""


def test_two_processes_under_torchrun_train_what_one_does(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TWO)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = {}
    for name, start in {"one": [sys.executable], "two": launch}.items():
        call = [*start, str(script), str(tmp_path / name)]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        said[name] = done.stdout
    first = said["one"].splitlines()[0]
    assert said["two"].count(first) == said["two"].count("reused") == 2  # the two may write on one line
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in said)
    assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in one)


def test_what_is_reused_has_the_weights_it_describes_even_after_a_kill_between_the_two(tmp_path, monkeypatch):
    """The description of an earlier training once outlived its weights."""
    def train(seed):
        return fit(head(), *sets(pooled()), TRAINING, seed=seed, out_dir=tmp_path, progress=False)

    first, write = train(0), training.write_json

    def killed(path, content):
        if path.name == FIT:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(training, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        train(1)
    monkeypatch.undo()
    again = train(0)
    assert not again.reused and same_weights(first.model, again.model)

