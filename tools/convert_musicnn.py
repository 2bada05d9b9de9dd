"""The weights of musicnn (MTT) from its PyPI wheel, as the safetensors file that flowmusic ships.

    pip download --no-deps musicnn==0.1.0
    python tools/convert_musicnn.py musicnn-0.1.0-py3-none-any.whl flowmusic/assets/musicnn/mtt.safetensors

The wheel holds a TensorFlow checkpoint; TensorFlow is not needed. Its `.index` is a table of the LevelDB
format (blocks of prefix-compressed keys), each value a small protocol buffer that says where in the
`.data` file a tensor lies.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

MODEL = "MTT_musicnn"
FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57
TENSORFLOW_FLOAT = 1
EPSILON = 0.001
"""Of TensorFlow's batch normalisation."""

CONVOLUTIONS = ("timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2", "mid.0", "mid.1", "mid.2")
"""In the order in which TensorFlow numbered them; batch norm 0 is the input's, so theirs follow from 1."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, least significant first, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def block_entries(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of a table's block; a key shares its beginning with the key before."""
    if data[offset + size] != 0:
        raise ValueError("expected blocks without compression")
    block = data[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")  # the places of whole keys stand at the end
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length


def table_entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, value) of every entry of a table: its footer points to the block of blocks."""
    if int.from_bytes(data[-8:], "little") != MAGIC:
        raise ValueError("this is no index of a TensorFlow checkpoint")
    footer = data[-FOOTER_BYTES:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, _ = varint(footer, at)
    for _, handle in block_entries(data, offset, size):
        first, at = varint(handle, 0)
        length, _ = varint(handle, at)
        for key, value in block_entries(data, first, length):
            if key:  # the entry without a name is the checkpoint's header
                yield key.decode(), value


def proto_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, number or bytes) of a protocol buffer."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:  # 5: four bytes, the checksum
            value, at = data[at : at + 4], at + 4
        yield tag >> 3, value


def read_tensor(entry: bytes, data: bytes) -> np.ndarray | None:
    """The float tensor that a BundleEntryProto describes; None for another type."""
    found = {number: value for number, value in proto_fields(entry) if number != 2}
    if found.get(1) != TENSORFLOW_FLOAT:
        return None
    shape: list[int] = []
    for number, value in proto_fields(entry):
        if number == 2 and isinstance(value, bytes):
            sizes = [
                dict(proto_fields(dim)) for n, dim in proto_fields(value) if n == 2 and isinstance(dim, bytes)
            ]
            shape = [int(size[1]) for size in sizes]
    offset, size_bytes = int(found.get(4, 0)), int(found[5])
    return np.frombuffer(data[offset : offset + size_bytes], dtype="<f4").reshape(shape)


def read_checkpoint(wheel: Path, model: str = MODEL) -> dict[str, np.ndarray]:
    """Every float tensor of a model in the wheel, by its TensorFlow name."""
    with zipfile.ZipFile(wheel) as archive:
        index = archive.read(f"musicnn/{model}/.index")
        data = archive.read(f"musicnn/{model}/.data-00000-of-00001")
    tensors = {name: read_tensor(entry, data) for name, entry in table_entries(index)}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def convert(tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The state dict of `flowmusic.evaluation.musicnn.Musicnn`, batch norm as scales and shifts."""

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(tensors[name].astype(np.float64))

    def numbered(name: str, number: int) -> str:
        return name if number == 0 else f"{name}_{number}"

    state: dict[str, torch.Tensor] = {}

    def norm(ours: str, number: int) -> None:
        name = numbered("batch_normalization", number)
        scale = tensor(f"{name}/gamma") / (tensor(f"{name}/moving_variance") + EPSILON).sqrt()
        state[f"{ours}.scale"] = scale
        state[f"{ours}.shift"] = tensor(f"{name}/beta") - tensor(f"{name}/moving_mean") * scale

    norm("input_norm", 0)
    for number, ours in enumerate(CONVOLUTIONS):
        name = numbered("conv2d", number)
        kernel = tensor(f"{name}/kernel").permute(3, 2, 0, 1)  # (time, F, in, out) -> (out, in, time, F)
        # The middle ones span all of the frequency axis: it is the input channel of a convolution over time.
        state[f"{ours}.conv.weight"] = kernel[:, 0].mT if ours.startswith("mid") else kernel
        state[f"{ours}.conv.bias"] = tensor(f"{name}/bias")
        norm(f"{ours}.norm", number + 1)
    norm("pooled_norm", 9)
    norm("penultimate_norm", 10)
    for ours, name in (("penultimate", "dense"), ("tags", "dense_1")):
        state[f"{ours}.weight"] = tensor(f"{name}/kernel").T
        state[f"{ours}.bias"] = tensor(f"{name}/bias")
    return {name: value.float().contiguous() for name, value in state.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="musicnn's TensorFlow checkpoint as safetensors.")
    parser.add_argument("wheel", type=Path, help="musicnn-0.1.0-py3-none-any.whl")
    parser.add_argument("out", type=Path, help="the file to write")
    options = parser.parse_args()
    state = convert(read_checkpoint(options.wheel))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in state.items()}, options.out)
    options.out.chmod(0o644)


if __name__ == "__main__":
    main()
