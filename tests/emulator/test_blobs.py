"""Weight files are read back as the storage library of coremltools wrote them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator.blobs import MAX_BLOB, BlobFile
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

VALUES: dict[str, Any] = {
    "fp16": np.linspace(-3, 3, 9).astype(np.float16).view(np.uint16),
    "float": np.linspace(-3, 3, 7).astype(np.float32),
    "int8": np.arange(-5, 6, dtype=np.int8),
    "uint8": np.arange(250, 256, dtype=np.uint8),
    "int16": np.arange(-400, -390, dtype=np.int16),
    "int32": np.arange(-7, 4, dtype=np.int32) * 10**8,
    "int4": np.arange(-8, 7, dtype=np.int8),
    "uint4": np.arange(15, dtype=np.uint8),
    "uint6": np.arange(11, dtype=np.uint8) * 6,
    "uint3": np.arange(11, dtype=np.uint8) % 8,
    "uint2": np.arange(7, dtype=np.uint8) % 4,
    "uint1": np.arange(13, dtype=np.uint8) % 2,
}


def test_weights_read_back_as_coremltools_wrote_them(tmp_path: Path) -> None:
    storage = pytest.importorskip("coremltools.libmilstoragepython")
    path = tmp_path / "weight.bin"
    writer = storage._BlobStorageWriter(str(path))
    offsets = {name: getattr(writer, f"write_{name}_data")(values) for name, values in VALUES.items()}
    del writer
    for name, values in VALUES.items():
        read = BlobFile(path).read(offsets[name])
        assert (read.view(np.uint16) if name == "fp16" else read).tolist() == values.tolist(), name


# By number in a weight file: MIL's number, bits, and three values as they lie there.
STORED: dict[int, tuple[int, int, list[float], bytes]] = {
    1: (10, 16, [1.0, -2.0, 0.5], struct.pack("<3e", 1, -2, 0.5)),
    2: (11, 32, [1.0, -2.0, 0.1], struct.pack("<3f", 1, -2, 0.1)),
    3: (31, 8, [1, 255, 7], bytes([1, 255, 7])),
    4: (21, 8, [1, -1, 7], bytes([1, 255, 7])),
    6: (22, 16, [1, -1, 300], struct.pack("<3h", 1, -1, 300)),
    7: (32, 16, [1, 65535, 300], struct.pack("<3H", 1, 65535, 300)),
    8: (25, 4, [1, -1, 7], bytes([0xF1, 0x07])),
    9: (37, 1, [1, 0, 1], bytes([0b101])),
    10: (36, 2, [1, 3, 2], bytes([0b101101])),
    11: (35, 4, [1, 15, 8], bytes([0xF1, 0x08])),
    12: (39, 3, [1, 7, 5], bytes([0b01111001, 0b1])),
    13: (38, 6, [1, 63, 33], bytes([0b11000001, 0b00011111, 0b10])),
    14: (23, 32, [1, -1, 70000], struct.pack("<3i", 1, -1, 70000)),
    15: (33, 32, [1, 2**32 - 1, 70000], struct.pack("<3I", 1, 2**32 - 1, 70000)),
}


def _file(folder: Path, number: int, content: bytes, **changed: int) -> Path:
    """A weight file with one blob at 64."""
    says = {"version": 2, "sentinel": 0xDEADBEEF, "size": len(content), "start": 128, "padding": 0, **changed}
    head = struct.pack("<II", 1, says["version"]).ljust(64, b"\0")
    fields = struct.pack("<IIQQQ", says["sentinel"], number, says["size"], says["start"], says["padding"])
    path = folder / "weight.bin"
    path.write_bytes(head + fields.ljust(64, b"\0") + content)
    return path


@pytest.mark.parametrize("number", STORED)
def test_every_type_is_read_from_its_bits(tmp_path: Path, number: int) -> None:
    mil, bits, values, content = STORED[number]
    path = _file(tmp_path, number, content, padding=len(content) * 8 - 3 * bits)
    blob = BlobFile(path).find(64)
    assert (blob.type.mil, blob.type.bits, blob.start, blob.size, blob.count) == (mil, bits, 128, len(content), 3)
    assert BlobFile(path).read(64).tolist() == pytest.approx(values, rel=1e-7)


@pytest.mark.parametrize(("number", "mil", "bits"), [(5, 13, 16), (16, 40, 8), (17, 41, 8)])
def test_types_that_numpy_does_not_have_are_named(tmp_path: Path, number: int, mil: int, bits: int) -> None:
    file = BlobFile(_file(tmp_path, number, bytes(8)))
    assert (file.find(64).type.bits, file.find(64).count) == (bits, 64 // bits)
    with pytest.raises(UnsupportedOpError, match=rf"weights of MIL's type {mil} \(weight\.bin\)"):
        file.read(64)


def test_a_blob_may_hold_a_gibibyte(tmp_path: Path) -> None:
    for size in (MAX_BLOB, MAX_BLOB + 1):
        path = _file(tmp_path, 3, b"", size=size)
        with path.open("r+b") as file:
            file.truncate(128 + size)  # nothing of it lies on the disk
        if size == MAX_BLOB:
            assert BlobFile(path).find(64).count == MAX_BLOB
        else:
            with pytest.raises(UnreadableFileError, match="claims 1073741825 bytes"):
                BlobFile(path).find(64)


@pytest.mark.parametrize(
    ("changed", "offset", "words"),
    [
        ({"version": 1}, 64, "is no weight file: version 1, expected 2"),
        ({}, 0, "the blob at 0 cannot be: blobs stand at multiples of 64"),
        ({}, 65, "the blob at 65 cannot be"),
        ({}, 128, "it ends inside the blob at 128"),
        ({"sentinel": 0xDEADBEEE}, 64, "there is no blob at 64"),
        ({"size": 9}, 64, "the blob at 64 claims 9 bytes from 128, the file has 136"),
        ({"start": 129}, 64, "claims 8 bytes from 129"),
        ({"size": MAX_BLOB + 1}, 64, "claims 1073741825 bytes"),
    ],
)
def test_a_blob_that_is_not_as_it_says_is_damaged(
    tmp_path: Path, changed: dict[str, int], offset: int, words: str
) -> None:
    with pytest.raises(UnreadableFileError, match=words):
        BlobFile(_file(tmp_path, 3, bytes(8), **changed)).read(offset)


def test_a_number_that_is_no_type_is_no_blob(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="there is no blob at 64"):
        BlobFile(_file(tmp_path, 18, bytes(8))).find(64)


def test_more_padding_than_there_is_leaves_nothing(tmp_path: Path) -> None:
    assert BlobFile(_file(tmp_path, 3, bytes(8), padding=65)).read(64).tolist() != []
    assert BlobFile(_file(tmp_path, 3, bytes(8), padding=65)).find(64).count == 0
    assert BlobFile(_file(tmp_path, 9, bytes(1), padding=9)).read(64).tolist() == []
