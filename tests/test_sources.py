"""Every door to a backbone, over real HTTP against a Hub on the loopback interface."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loopback_hub import COMMIT, LoopbackHub
from tiny_wav2vec import ENCODER, TINY
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
from genre_utils.models.wav2vec import load_backbone

ENCODERS = {
    "wav2vec2": (Wav2Vec2ForPreTraining, Wav2Vec2Config(**TINY)),
    "hubert": (HubertModel, HubertConfig(**ENCODER)),
    "wavlm": (WavLMModel, WavLMConfig(**ENCODER)),
    "data2vec": (Data2VecAudioModel, Data2VecAudioConfig(**ENCODER | {"num_conv_pos_embeddings": 2})),
}
#: What a person does, in a process of its own: load backbones and print, for each, its fingerprint or the error.
LOAD = """
import json, sys
from genre_utils.errors import CheckpointError
from genre_utils.models.wav2vec import load_backbone
from transformers.utils import logging
logging.disable_progress_bar()  # as every chapter does
for name in sys.argv[1:]:
    try:
        backbone, _, revision = name.partition("@")
        print(json.dumps(load_backbone(backbone, revision or None).fingerprint))
    except CheckpointError as error:
        print(json.dumps(f"CheckpointError: {error}"))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Folders of tiny models as on the Hub, by architecture; one larger, one with old weights, one of no audio."""
    root = tmp_path_factory.mktemp("hub")
    for name, (cls, config) in ENCODERS.items():
        torch.manual_seed(0)
        cls(config).save_pretrained(root / "lab" / name)
    # The Hub's client writes to disk by pieces of 10 MB: only a larger file can be half there.
    HubertModel(HubertConfig(**ENCODER | {"intermediate_size": 100_000})).save_pretrained(root / "lab" / "big")
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
    """Load backbones in a new process: fingerprint (or error) of each, and what was said on the way."""

    def run(*names, **environment):
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0",
                    "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", LOAD, *names], check=False, capture_output=True, text=True, timeout=200,
            env=os.environ | settings | environment, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return run


def fingerprint(repositories, name):
    return load_backbone(str(repositories / "lab" / name)).fingerprint


def test_every_architecture_arrives_as_it_lies_on_the_hub(load, hub, repositories):
    names = [*ENCODERS, "old"]
    extra = repositories / "lab" / "wavlm" / "pytorch_model.bin"
    extra.write_bytes(b"not to be read, and not even downloaded, beside safetensors")
    found, said = load(*(f"lab/{name}@{COMMIT}" for name in names))
    extra.unlink()
    assert found == [fingerprint(repositories, name) for name in names], said
    downloads = [line for line in hub.asked if line.startswith("GET") and line.endswith((".bin", ".safetensors"))]
    assert sum(line.endswith("/pytorch_model.bin") for line in downloads) == 1  # of "old" alone


@pytest.mark.parametrize("name", ENCODERS)
def test_every_architecture_gives_its_states(repositories, name):
    backbone = load_backbone(str(repositories / "lab" / name))
    states = backbone.hidden_states(torch.randn(2, 4_000))
    assert len(states) == 3 and states[0].shape == (2, backbone.num_frames(4_000), 16)


def test_what_was_downloaded_is_used_when_the_hub_is_gone(load, hub, repositories):
    first, said = load("lab/wav2vec2")
    assert first == [fingerprint(repositories, "wav2vec2")], said
    asked = len(hub.asked)
    assert load("lab/wav2vec2", f"lab/wav2vec2@{COMMIT}", HF_ENDPOINT="http://127.0.0.1:9")[0] == 2 * first
    (again, error), _ = load("lab/wav2vec2", "lab/hubert", HF_HUB_OFFLINE="1")
    assert again == first[0]
    assert "could not be reached" in error and "'shipped' always works offline" in error
    assert len(hub.asked) == asked


def test_a_cut_download_goes_on_where_it_broke_off(load, hub, repositories):
    hub.cut = 1
    (found, *again), said = load("lab/big", "lab/big")
    assert hub.cut == 0
    assert again == [fingerprint(repositories, "big")], said
    assert found == again[0] or "Run it again" in found
    assert any(hub.resumed), "the second request did not ask for the rest only"


def test_a_slow_hub_is_waited_for_with_a_progress_bar(load, hub, repositories):
    hub.delay_s = 0.4
    found, said = load("lab/data2vec")
    assert found == [fingerprint(repositories, "data2vec")]
    assert "%|" in said


def test_refusals_of_the_hub_are_clear(load, hub):
    hub.status = {"lab/gated": 401, "lab/forbidden": 403}
    says = {
        "lab/nothing": "not known to the Hub", "lab/gated": "gated", "lab/forbidden": "could not be reached",
        f"lab/hubert@{'f' * 40}": "not this revision", "lab/text": "no raw-audio encoder", "lab": "no backbone 'lab'",
    }  # fmt: skip
    found, said = load(*says)
    for (name, expected), error in zip(says.items(), found, strict=True):
        assert error.startswith("CheckpointError") and name.split("@")[0] in error and expected in error, (error, said)


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
