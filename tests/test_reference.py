"""The readable wav2vec 2.0 and the library's are one network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2ForPreTraining

from genre_utils.models.pretraining import Objective, sample_negatives
from genre_utils.models.reference import ReferenceWav2Vec2, contrastive_loss, library_to_reference, span_mask
from genre_utils.models.wav2vec import small_config

TINY = {
    "conv_dim": (16,) * 7,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
    "num_codevectors_per_group": 8,
    "codevector_dim": 12,
    "proj_codevector_dim": 20,
}
VARIANTS = {"base": {}, "tiny": TINY | {"conv_bias": True}}


@pytest.fixture(params=VARIANTS, scope="module")
def pair(request):
    """A library model with lively weights, its readable twin, and a batch with mask and distractors."""
    torch.manual_seed(0)
    library = Wav2Vec2ForPreTraining(small_config(**VARIANTS[request.param])).eval()
    with torch.no_grad():  # norms and biases start at one and zero: move them, or a mix-up would not show
        for parameter in library.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    waves = torch.randn(3, 12_800)
    frames = int(library._get_feat_extract_output_lengths(12_800))
    mask = span_mask(3, frames, generator=torch.Generator().manual_seed(0))
    negatives = torch.from_numpy(
        sample_negatives(np.random.default_rng(0), mask.numpy(), Objective(num_negatives=7))
    )
    return library, ReferenceWav2Vec2.from_library(library), waves, mask, negatives


@pytest.mark.parametrize("change", [{"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}])
def test_a_model_with_weights_that_the_reference_lacks_is_refused(change):
    with pytest.raises((RuntimeError, KeyError)):
        ReferenceWav2Vec2.from_library(Wav2Vec2ForPreTraining(small_config(**(TINY | change))))


def test_reference_matches_library_hidden_states(pair):
    library, reference, waves, mask, _ = pair
    for m in (None, mask):
        theirs = library(waves, mask_time_indices=m, output_hidden_states=True)
        ours = reference(waves, m)
        assert len(ours.hidden_states) == len(theirs.hidden_states) == library.config.num_hidden_layers + 1
        for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)
        last = library.wav2vec2(waves, mask_time_indices=m).last_hidden_state
        torch.testing.assert_close(ours.context, last, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(ours.predicted, theirs.projected_states, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(ours.targets, theirs.projected_quantized_states, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("training", [False, True])
def test_reference_matches_library_loss_and_gradients(pair, training):
    library, reference, waves, mask, negatives = pair
    losses = []
    given = {"mask_time_indices": mask, "sampled_negative_indices": negatives}
    for model, inputs in ((library, given), (reference, {"mask": mask, "negatives": negatives})):
        model.train(training).zero_grad()
        torch.manual_seed(1)  # the same Gumbel noise
        out = model(waves, **inputs)
        out.loss.backward()
        losses.append(out)
    theirs, ours = losses
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.contrastive, theirs.contrastive_loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.diversity, theirs.diversity_loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.perplexity, theirs.codevector_perplexity, rtol=1e-4, atol=0)
    gradients = {library_to_reference(name): p.grad for name, p in library.named_parameters()}
    for name, parameter in reference.named_parameters():
        if gradients[name] is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        expected = gradients[name].reshape(parameter.shape)
        scale = float(expected.abs().max())
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-3 * scale + 1e-6, msg=name)


def test_reference_takes_every_weight_of_the_library(pair):
    library, reference, *_ = pair
    assert {library_to_reference(name) for name in library.state_dict()} == set(reference.state_dict())


def test_swapped_weights_would_be_noticed(pair):
    """The hidden-state test can fail: one exchanged pair of norms moves the states by 50 tolerances."""
    library, reference, waves, *_ = pair
    block = ReferenceWav2Vec2.from_library(library).eval()
    state = block.state_dict()
    state["transformer.blocks.0.norm_1.weight"], state["transformer.blocks.0.norm_2.weight"] = (
        state["transformer.blocks.0.norm_2.weight"].clone(), state["transformer.blocks.0.norm_1.weight"].clone(),
    )  # fmt: skip
    block.load_state_dict(state)
    assert (block(waves).hidden_states[-1] - reference.eval()(waves).hidden_states[-1]).abs().max() > 1e-3


def test_masked_spans_have_the_right_length_and_hide_about_half():
    mask = span_mask(50, 149, generator=torch.Generator().manual_seed(0))
    assert 0.40 < mask.float().mean() < 0.55
    for row in mask:
        runs = torch.diff(torch.nn.functional.pad(row.int(), (1, 1)))
        lengths = torch.nonzero(runs == -1) - torch.nonzero(runs == 1)
        assert (lengths >= 10).all()


def test_masking_hides_the_signal_of_the_masked_frames():
    """If all frames are masked, the Transformer's output no longer depends on the audio."""
    reference = ReferenceWav2Vec2(small_config(**TINY)).eval()
    mask = torch.ones(1, 19, dtype=torch.bool)
    a, b = (reference(torch.randn(1, 6400), mask).hidden_states[-1] for _ in range(2))
    torch.testing.assert_close(a, b)


def test_contrastive_loss_is_log_of_the_choices_when_nothing_is_known():
    """An orthogonal prediction is as close to each of k + 1 codewords: the loss is log(k + 1) a frame."""
    targets = torch.eye(8)[None, :, :]
    predicted = torch.zeros(1, 8, 8)
    negatives = (torch.arange(8)[:, None] + torch.arange(1, 5)).remainder(8)[None]
    loss = contrastive_loss(predicted, targets, torch.ones(1, 8, dtype=torch.bool), negatives)
    assert float(loss) == pytest.approx(8 * np.log(5), rel=1e-5)


def test_a_perfect_prediction_costs_nothing_and_equal_distractors_do_not_count():
    targets = torch.eye(4)[None]
    mask = torch.ones(1, 4, dtype=torch.bool)
    others = (torch.arange(4)[:, None] + 1).remainder(4)[None]
    assert float(contrastive_loss(targets, targets, mask, others)) < 1e-3
    itself = torch.arange(4)[:, None][None]
    assert float(contrastive_loss(-targets, targets, mask, itself)) == pytest.approx(0, abs=1e-6)
