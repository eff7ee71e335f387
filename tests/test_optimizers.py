"""Muon: orthogonal steps for the inner layers, AdamW's for the rest, and a state that can be stored."""

import copy

import pytest
import torch
from torch import nn

from genre_utils.models.cnn import GenreCNN
from genre_utils.optimizers import Muon, orthogonal


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 9), nn.Linear(9, 3))


def one_step(model: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(1)
    model.zero_grad()
    model(torch.randn(8, 6, generator=generator)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
def test_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_inner_matrices_move_as_with_torchs_muon_and_the_rest_as_with_adamw():
    ours = network()
    theirs = copy.deepcopy(ours)
    inner = [theirs[2].weight, theirs[4].weight]
    others = [p for p in theirs.parameters() if all(p is not weight for weight in inner)]
    pair = (
        torch.optim.Muon(inner, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.002, weight_decay=0.1),
    )
    muon = Muon(ours, lr=0.01, weight_decay=0.1)
    for _ in range(3):
        one_step(ours, muon)
        one_step(theirs, *pair)
    start = network().state_dict()
    for name in ("2.weight", "4.weight"):  # torch's computes in bfloat16
        moved, expected = ours.state_dict()[name] - start[name], theirs.state_dict()[name] - start[name]
        assert torch.cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.95
        assert moved.norm().item() == pytest.approx(expected.norm().item(), rel=0.1)


def test_the_first_and_the_last_layer_and_the_biases_move_as_with_adamw():
    ours = network()
    theirs = copy.deepcopy(ours)
    one_step(ours, Muon(ours, lr=0.01, weight_decay=0.1))
    one_step(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.002, weight_decay=0.1))
    same = {name for name, weight in ours.state_dict().items() if torch.equal(weight, theirs.state_dict()[name])}
    assert same == set(ours.state_dict()) - {"2.weight", "4.weight"}


def test_convolutions_count_as_one_row_a_filter_in_either_memory_layout():
    torch.manual_seed(0)
    models = [GenreCNN(), GenreCNN()]
    models[1].load_state_dict(models[0].state_dict())
    models[1].to(memory_format=torch.channels_last)
    for model in models:
        for number, weight in enumerate(model.parameters()):
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
        Muon(model, lr=0.01, weight_decay=0.0).step()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_stored_state_goes_on_as_if_nothing_had_happened():
    straight = network()
    optimizer = Muon(straight, lr=0.01, weight_decay=0.1)
    for _ in range(2):
        one_step(straight, optimizer)
    resumed = copy.deepcopy(straight)
    again = Muon(resumed, lr=0.01, weight_decay=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    one_step(straight, optimizer)
    one_step(resumed, again)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
