"""MusiCNN's published weights, as their wheel has them; run as a script, it makes the package's copy anew.

    python tests/musicnn_wheel.py

The wheel ``musicnn`` keeps a checkpoint of TensorFlow 1: a table (of the format of LevelDB) that says where each array
lies, and the arrays as plain numbers. Both are read here as the bytes that they are; nothing of the wheel is run.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from genre_utils.models.musicnn import MusiCNN
from genre_utils.paths import WEIGHTS, package_data, write_whole

FOLDER = Path(__file__).resolve().parents[1] / "build" / "musicnn"
SHA256 = {
    "MSD_musicnn/.index": "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
    "MSD_musicnn/.data-00000-of-00001": "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
}


class CannotGet(Exception):
    """The wheel cannot be had here; the message is the installer's."""


def published() -> dict[str, np.ndarray]:
    """Every array of the checkpoint by its name there, checked against the hashes of 2019."""
    if not list(FOLDER.glob("musicnn-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(FOLDER), "musicnn==0.1.0"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise CannotGet((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    (wheel,) = FOLDER.glob("musicnn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(f"musicnn/{name}") for name in SHA256}
    for name, digest in SHA256.items():
        assert hashlib.sha256(content[name]).hexdigest() == digest, f"{name} of {wheel} is not the published one"
    return _arrays(*content.values())


def weights() -> dict[str, torch.Tensor]:
    """The same under the names of :class:`genre_utils.models.musicnn.MusiCNN`."""
    kept, model = published(), MusiCNN()
    blocks = [*model.front, *model.middle]
    layers = {"batch_normalization": [model.norm, *(block.norm for block in blocks), model.pool_norm, model.dense_norm]}
    layers |= {"conv2d": [block.conv for block in blocks], "dense": [model.dense, model.tags]}
    names = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
    names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    for kind, some in layers.items():
        for number, layer in enumerate(some):
            stem = f"{kind}_{number}/" if number else f"{kind}/"
            theirs = {name.removeprefix(stem): array for name, array in kept.items() if name.startswith(stem)}
            for name, array in theirs.items():
                if "Adam" not in name:
                    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]  # filters come last there, first here
                    getattr(layer, names[name]).data.copy_(torch.from_numpy(array.transpose(axes).copy()))
    return model.state_dict()


def _arrays(index: bytes, numbers: bytes) -> dict[str, np.ndarray]:
    _, _, at = _pair(index, len(index) - 48)  # the last 48 bytes name two blocks; the second one lists the others
    found = {}
    for _, place in _entries(index, *_pair(index, at)[:2]):
        for name, value in _entries(index, *_pair(place, 0)[:2]):
            entry = dict(_fields(value))
            if name and entry[1] == 1:  # not the header; float32
                shape = [dict(_fields(size))[1] for number, size in _fields(entry[2]) if number == 2]
                found[name] = np.frombuffer(numbers, "<f4", entry[5] // 4, entry.get(4, 0)).reshape(shape)
    return found


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[str, bytes]]:
    """Key and value of each entry of a block; a key gives only what differs from the one before it."""
    block, at, key = table[start : start + size], 0, b""
    end = size - 4 * (1 + struct.unpack("<I", block[-4:])[0])
    while at < end:
        shared, new, at = _pair(block, at)
        length, at = _number(block, at)
        key = key[:shared] + block[at : at + new]
        yield key.decode(), block[at + new : at + new + length]
        at += new + length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        if tag & 7 == 0:
            value, at = _number(message, at)
        else:
            length, at = _number(message, at) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def _number(buffer: bytes, at: int) -> tuple[int, int]:
    """A whole number in as many bytes as it needs, and where the next thing begins."""
    value = shift = 0
    while True:
        value |= (buffer[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if buffer[at - 1] < 128:
            return value, at


def _pair(buffer: bytes, at: int) -> tuple[int, int, int]:
    first, at = _number(buffer, at)
    return first, *_number(buffer, at)


if __name__ == "__main__":
    place = package_data("musicnn", WEIGHTS)
    write_whole(place, save(weights(), {"format": "pt"}))
    print(place)
