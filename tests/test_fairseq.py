"""fairseq's checkpoints: read without fairseq, with the same features as fairseq's own model gives."""

import argparse
import subprocess
from pathlib import Path

import fairseq_environment
import numpy as np
import pytest
import torch
from tiny_wav2vec import TINY
from transformers import Wav2Vec2ForPreTraining

from genre_utils.errors import CheckpointError
from genre_utils.models import fairseq
from genre_utils.models.wav2vec import load_backbone, small_config

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def fairseq_python():
    try:
        return fairseq_environment.fairseq_python()
    except fairseq_environment.CannotInstall as error:
        pytest.skip(f"fairseq-fixed cannot be installed here: {error}")


@pytest.fixture(scope="session")
def reference(fairseq_python, tmp_path_factory):
    """Checkpoints and features that fairseq itself wrote."""
    folder = tmp_path_factory.mktemp("fairseq")
    command = [str(fairseq_python), str(HERE / "fairseq_reference.py"), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("header", ["cfg", "args"])
@pytest.mark.parametrize("layout", ["base", "large"])
def test_features_equal_those_of_fairseq_itself(reference, layout, header):
    backbone = load_backbone(str(reference / f"{layout}-{header}.pt"))
    theirs = np.load(reference / f"{layout}.npz")
    with torch.no_grad():
        states = backbone.hidden_states(torch.from_numpy(theirs["waves"]))
    np.testing.assert_allclose(states[-1].numpy(), theirs["last"], atol=2e-5)
    # Between the blocks too: fairseq lists the output of each, the library the input of the first as well.
    for ours, their in zip(states[1:-1], theirs["layers"][:-1], strict=True):
        np.testing.assert_allclose(ours.numpy(), their, atol=2e-5)


def test_the_scale_of_the_input_does_not_matter(reference):
    backbone = load_backbone(str(reference / "base-cfg.pt"))
    theirs = np.load(reference / "base.npz")
    with torch.no_grad():
        states = backbone.hidden_states(100 + 0.3 * torch.from_numpy(theirs["waves"]))
    np.testing.assert_allclose(states[-1].numpy(), theirs["last"], atol=1e-3)


# ------------------------------------------------------------------------ without fairseq


def fairseq_names(model: Wav2Vec2ForPreTraining) -> dict[str, torch.Tensor]:
    """The state of a library model under fairseq's names (base layout): the inverse of what is tested."""
    pairs = [
        ("project_hid.", "final_proj."), ("quantizer.codevectors", "quantizer.vars"),
        ("wav2vec2.masked_spec_embed", "mask_emb"), (".feed_forward.intermediate_dense.", ".fc1."),
        (".feed_forward.output_dense.", ".fc2."), (".attention.", ".self_attn."),
        ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
        ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
        ("pos_conv_embed.conv.", "pos_conv.0."), ("wav2vec2.feature_projection.projection.", "post_extract_proj."),
        ("wav2vec2.feature_projection.layer_norm.", "layer_norm."),
    ]  # fmt: skip
    found = {}
    for name, tensor in model.state_dict().items():
        if "encoder.layers" in name and name.split(".")[4] == "layer_norm":
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        if "conv_layers" in name:
            name = name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.")
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        found[name.removeprefix("wav2vec2.")] = tensor.clone()
    return found


@pytest.fixture
def saved(tmp_path):
    """A library model, and a file of it as fairseq would have written it."""
    torch.manual_seed(0)
    model = Wav2Vec2ForPreTraining(small_config(**TINY)).eval()
    header = {
        "_name": "wav2vec2", "encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
        "encoder_attention_heads": 2, "conv_feature_layers": "[(8,10,5)] + [(8,3,2)]*4 + [(8,2,2)]*2",
        "conv_pos": 8, "conv_pos_groups": 2, "latent_vars": 4, "latent_dim": 8, "final_dim": 8,
        "quantize_targets": True,
    }  # fmt: skip
    content = {"cfg": {"model": header}, "model": fairseq_names(model)}
    torch.save(content, tmp_path / "small.pt")
    return model, tmp_path / "small.pt", content


def test_every_weight_arrives_where_it_belongs(saved):
    model, path, _ = saved
    again = fairseq.load_fairseq(path).state_dict()
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


def test_the_published_convolutions_are_understood_without_running_code():
    published = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
    assert fairseq.conv_layers(published) == [(512, 10, 5)] + 4 * [(512, 3, 2)] + 2 * [(512, 2, 2)]
    for bad in ("__import__('os').getcwd()", "[(512, 10)]", "[]", "[(1,2,3)] * x", "[("):
        with pytest.raises(CheckpointError, match="convolutions"):
            fairseq.conv_layers(bad)


class Payload:
    """A pickle that leaves a file when it is executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_foreign_code_in_a_checkpoint_is_refused_and_does_not_run(saved, tmp_path):
    _, path, content = saved
    torch.save(content | {"extra_state": Payload(str(tmp_path / "ran"))}, path)
    with pytest.raises(CheckpointError, match=r"small\.pt is refused.*could run code"):
        fairseq.load_fairseq(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["model"].pop("mask_emb"), "damaged.*masked_spec_embed"),
        (lambda c: c["model"].update(surprise=torch.zeros(1)), "does not know: surprise"),
        (lambda c: c["cfg"]["model"].update(encoder_layers=3), "damaged"),
        (lambda c: c["cfg"]["model"].update(_name="hubert"), "'hubert'"),
        (lambda c: c["cfg"]["model"].update(quantize_input=True), "quantize_input"),
        (lambda c: c["cfg"]["model"].update(quantize_targets=False), "quantize_targets = False.*cannot be read"),
        (lambda c: c["cfg"]["model"].update(encoder_attention_heads=0), "describes no network"),
        (lambda c: c["cfg"]["model"].update(activation_fn="no such"), "describes no network"),
        (lambda c: c.pop("cfg"), "neither"),
        (lambda c: c.update(model={"w2v_encoder.proj.weight": torch.zeros(1)}), "fine-tuned"),
        (lambda c: c.update(args=argparse.Namespace(arch="lstm"), cfg=None), "'lstm'"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_file(saved, change, says):
    _, path, content = saved
    change(content)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=says) as caught:
        fairseq.load_fairseq(path)
    assert str(path) in str(caught.value)


def test_missing_cut_and_foreign_files_are_named(saved, tmp_path):
    _, path, _ = saved
    cut = tmp_path / "cut.pt"
    cut.write_bytes(path.read_bytes()[:2000])
    (tmp_path / "text.pt").write_text("not a checkpoint")
    (tmp_path / "empty.pt").touch()
    for name in ("cut.pt", "text.pt", "empty.pt", "absent.pt"):
        with pytest.raises(CheckpointError, match=name):
            fairseq.load_fairseq(tmp_path / name)
