"""Every door to a backbone, over real HTTP against a Hub on the loopback interface."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchaudio
from loopback_hub import COMMIT, LoopbackHub
from transformers import (
    BertConfig,
    BertModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2ForPreTraining,
    WavLMConfig,
    WavLMModel,
)

from genre_utils.errors import CheckpointError
from genre_utils.models import sources
from genre_utils.models.wav2vec import Backbone, load_backbone

SIZE = {
    "conv_dim": (8,) * 7, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
ENCODERS = {
    "wav2vec2": (Wav2Vec2ForPreTraining, Wav2Vec2Config(**SIZE, num_codevectors_per_group=4, codevector_dim=8)),
    "hubert": (HubertModel, HubertConfig(**SIZE)),
    "wavlm": (WavLMModel, WavLMConfig(**SIZE)),
    "data2vec": (Data2VecAudioModel, Data2VecAudioConfig(**SIZE | {"num_conv_pos_embeddings": 2})),
}
#: What a person does: one process loads a backbone and prints its fingerprint, or the error.
LOAD = """
import sys
from genre_utils.errors import CheckpointError
from genre_utils.models.wav2vec import load_backbone
try:
    print(load_backbone(sys.argv[1], sys.argv[2] or None).fingerprint)
except CheckpointError as error:
    sys.exit(f"CheckpointError: {error}")
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Folders of tiny models as they lie on the Hub, by architecture; one with old weights, one of no audio."""
    root = tmp_path_factory.mktemp("hub")
    for name, (cls, config) in ENCODERS.items():
        torch.manual_seed(0)
        cls(config).save_pretrained(root / "lab" / name)
    torch.manual_seed(0)
    old = ENCODERS["wav2vec2"][0](ENCODERS["wav2vec2"][1])
    old.config.save_pretrained(root / "lab" / "old")
    torch.save(old.state_dict(), root / "lab" / "old" / "pytorch_model.bin")
    text = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
    BertModel(text).save_pretrained(root / "lab" / "text")
    return root


@pytest.fixture
def hub(repositories):
    with LoopbackHub(repositories).running() as running:
        yield running


@pytest.fixture
def load(hub, tmp_path):
    """Load a backbone in a process of its own: (exit status, what it printed, what it said)."""

    def run(name, revision="", **environment):
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0",
                    "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", LOAD, name, revision], check=False, capture_output=True, text=True, timeout=240,
            env=os.environ | settings | environment, cwd=tmp_path,
        )  # fmt: skip
        return done.returncode, done.stdout.strip(), done.stderr

    return run


@pytest.mark.parametrize("name", [*ENCODERS, "old"])
def test_first_download_equals_the_folder(load, repositories, name):
    status, fingerprint, said = load(f"lab/{name}", COMMIT)
    assert status == 0, said
    assert fingerprint == load_backbone(str(repositories / "lab" / name)).fingerprint
    backbone = load_backbone(str(repositories / "lab" / name))
    states = backbone.hidden_states(torch.randn(2, 4_000))
    assert len(states) == 3 and states[0].shape == (2, backbone.num_frames(4_000), 16)


def test_what_was_downloaded_is_used_when_the_hub_is_gone(load, hub):
    assert load("lab/wav2vec2", COMMIT)[0] == 0
    asked = len(hub.asked)
    offline = load("lab/wav2vec2", COMMIT, HF_HUB_OFFLINE="1")
    gone = load("lab/wav2vec2", COMMIT, HF_ENDPOINT="http://127.0.0.1:9")
    unpinned = load("lab/wav2vec2", COMMIT)
    assert offline[0] == gone[0] == unpinned[0] == 0, (offline, gone, unpinned)
    assert len(hub.asked) == asked


def test_only_safetensors_are_downloaded_where_there_are_some(load, hub, repositories):
    extra = repositories / "lab" / "wavlm" / "pytorch_model.bin"
    extra.write_bytes(b"not to be read")
    try:
        assert load("lab/wavlm")[0] == 0
    finally:
        extra.unlink()
    assert not any(line.endswith("pytorch_model.bin") for line in hub.asked)
    assert any(line.startswith("GET") and line.endswith("model.safetensors") for line in hub.asked)


def test_a_cut_download_goes_on_where_it_broke_off(load, hub, repositories):
    hub.cut = 1
    status, fingerprint, said = load("lab/hubert")
    if status:  # the library gave up: what has arrived is kept, the same command goes on
        assert "CheckpointError" in said and "Run it again" in said
        status, fingerprint, said = load("lab/hubert")
    assert status == 0, said
    assert hub.cut == 0
    assert fingerprint == load_backbone(str(repositories / "lab" / "hubert")).fingerprint


def test_a_slow_hub_is_waited_for_with_a_progress_bar(load, hub):
    hub.delay_s = 0.4
    status, _, said = load("lab/data2vec")
    assert status == 0, said
    assert "%|" in said


@pytest.mark.parametrize(
    ("name", "revision", "code", "says"),
    [
        ("lab/nothing", "", None, "not known to the Hub"),
        ("lab/hubert", "", "401", "gated"),
        ("lab/hubert", "f" * 40, None, "not this revision"),
        ("lab/text", "", None, "no raw-audio encoder"),
        ("lab/hubert", "", "500", "could not be reached"),
    ],
)
def test_refusals_of_the_hub_are_clear(load, hub, name, revision, code, says):
    if code:
        hub.status[name] = code
    status, _, said = load(name, revision)
    assert status == 1
    assert "CheckpointError" in said and name in said and says in said, said
    assert "Traceback" not in said


def test_no_hub_at_all_is_said_with_the_remedy(load):
    status, _, said = load("lab/hubert", HF_HUB_OFFLINE="1")
    assert status == 1
    assert "could not be reached" in said and "'shipped' always works offline" in said


def test_a_folder_with_code_of_its_own_does_not_run_it(repositories, tmp_path):
    folder = tmp_path / "custom"
    ENCODERS["hubert"][0](ENCODERS["hubert"][1]).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "my-own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(CheckpointError, match="custom"):
        load_backbone(str(folder))
    assert not Path(ran).exists()


@pytest.mark.parametrize("layout", ["base", "large"])
def test_a_model_of_torchaudio_gives_the_same_states_as_ours(layout):
    torch.manual_seed(0)
    convolutions = [(8, 10, 5), *4 * [(8, 3, 2)], *2 * [(8, 2, 2)]]
    theirs = torchaudio.models.wav2vec2_model(
        extractor_mode="group_norm" if layout == "base" else "layer_norm",
        extractor_conv_layer_config=convolutions, extractor_conv_bias=layout == "large", encoder_embed_dim=16,
        encoder_projection_dropout=0.1, encoder_pos_conv_kernel=8, encoder_pos_conv_groups=2, encoder_num_layers=3,
        encoder_num_heads=2, encoder_attention_dropout=0.1, encoder_ff_interm_features=24,
        encoder_ff_interm_dropout=0.1, encoder_dropout=0.1, encoder_layer_norm_first=layout == "large",
        encoder_layer_drop=0.1, aux_num_out=None,
    ).eval()  # fmt: skip
    waves = torch.randn(2, 6_000)
    waves = (waves - waves.mean(1, keepdim=True)) / waves.std(1, keepdim=True, unbiased=False)
    ours = Backbone(sources.convert_torchaudio(theirs), "torchaudio")
    with torch.no_grad():
        features, _ = theirs.extract_features(waves)
        last, _ = theirs(waves)
        states = ours.hidden_states(waves)
    torch.testing.assert_close(states[-1], last, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(states[1], features[0], atol=1e-4, rtol=1e-4)


def test_an_unknown_bundle_is_refused_with_the_known_ones():
    with pytest.raises(CheckpointError, match="WAV2VEC2_BASE"):
        load_backbone("torchaudio:WAV2VEC2_TINY")


def test_a_bundle_that_cannot_be_downloaded_is_a_clear_error(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchaudio._internal.load_state_dict_from_url", refuse, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="could not be downloaded"):
        load_backbone("torchaudio:WAV2VEC2_BASE")
