"""Trained models come back from the disk as they were, and damaged ones are named."""

from __future__ import annotations

import pytest
import torch

from genre_utils.errors import CheckpointError
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.saved import WEIGHTS, load_model, save_model
from genre_utils.models.wav2vec import GenreWav2Vec, HeadClassifier, random_backbone


@pytest.mark.parametrize("make", [lambda: GenreCNN(3), lambda: HeadClassifier(3, 8, 4, "weighted")])
def test_a_saved_model_scores_the_same_after_loading(tmp_path, make):
    model = make().eval()
    inputs = torch.rand(2, 1, 32, 32) if isinstance(model, GenreCNN) else torch.rand(2, 3, 8)
    save_model(model, tmp_path, {"profile": "mini"})
    loaded = load_model(tmp_path)
    assert loaded.meta == {"profile": "mini"}
    assert torch.equal(model(inputs)["logits"], loaded(inputs)["logits"])


def test_a_saved_wav2vec_model_scores_the_same_after_loading(tmp_path):
    model = GenreWav2Vec(random_backbone(3), 2, "mlp", "mean").eval()
    waves = torch.rand(2, 8000)
    loaded = load_model(save_model(model, tmp_path))
    torch.testing.assert_close(model(waves)["logits"], loaded(waves)["logits"], rtol=0, atol=1e-6)


def test_a_checkpoint_of_another_architecture_is_named(tmp_path):
    save_model(GenreCNN(3), tmp_path / "cnn")
    save_model(HeadClassifier(3, 8), tmp_path / "head")
    (tmp_path / "head" / WEIGHTS).write_bytes((tmp_path / "cnn" / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match="another architecture.*train it again") as caught:
        load_model(tmp_path / "head")
    assert str(tmp_path / "head" / WEIGHTS) in str(caught.value)


def test_a_corrupt_or_missing_checkpoint_is_named(tmp_path):
    save_model(GenreCNN(3), tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} cannot be read"):
        load_model(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} cannot be read"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="config.json is missing"):
        load_model(tmp_path / "nowhere")
