"""Weight files of ML programs (`weight.bin`), read as files of a stranger.

Layout (coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp): a header of 64 bytes, then for each blob 64 bytes of
metadata (sentinel, type, size in bytes, offset of the data, bits of padding) and its data. Types below one byte are
packed from the lowest bit on. Nothing here needs coremltools' native libraries.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

_ALIGNMENT = 64
_HEADER = struct.Struct("<II")
_VERSION = 2
_METADATA = struct.Struct("<IIQQQ")
_SENTINEL = 0xDEADBEEF

# The most that one blob may hold; larger than any weight the emulator could evaluate.
MAX_BLOB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobType:
    """An element type of a weight file: its number in MIL.proto, its bits, and numpy's type (of a whole byte)."""

    mil: int
    bits: int
    numpy: type[np.generic] | None


# By number in a weight file.
_TYPES = {
    1: BlobType(mil=10, bits=16, numpy=np.float16),
    2: BlobType(mil=11, bits=32, numpy=np.float32),
    3: BlobType(mil=31, bits=8, numpy=np.uint8),
    4: BlobType(mil=21, bits=8, numpy=np.int8),
    5: BlobType(mil=13, bits=16, numpy=None),
    6: BlobType(mil=22, bits=16, numpy=np.int16),
    7: BlobType(mil=32, bits=16, numpy=np.uint16),
    8: BlobType(mil=25, bits=4, numpy=np.int8),
    9: BlobType(mil=37, bits=1, numpy=np.uint8),
    10: BlobType(mil=36, bits=2, numpy=np.uint8),
    11: BlobType(mil=35, bits=4, numpy=np.uint8),
    12: BlobType(mil=39, bits=3, numpy=np.uint8),
    13: BlobType(mil=38, bits=6, numpy=np.uint8),
    14: BlobType(mil=23, bits=32, numpy=np.int32),
    15: BlobType(mil=33, bits=32, numpy=np.uint32),
    16: BlobType(mil=40, bits=8, numpy=None),
    17: BlobType(mil=41, bits=8, numpy=None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Where one blob lies in its file."""

    type: BlobType
    start: int
    size: int
    count: int


class BlobFile:
    """One weight file; opened for each blob and never kept open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        header = self._bytes(0, _ALIGNMENT, "its header")
        version = _HEADER.unpack_from(header)[1]
        if version != _VERSION:
            msg = f"'{path}' is no weight file: version {version}, expected {_VERSION}."
            raise UnreadableFileError(msg)

    def find(self, offset: int) -> Blob:
        """The blob whose metadata stand at `offset`; raises UnreadableFileError where there is none."""
        what = f"the blob at {offset}"
        if offset < _ALIGNMENT or offset % _ALIGNMENT:
            self._refuse(f"{what} cannot be: blobs stand at multiples of {_ALIGNMENT}")
        sentinel, number, size, start, padding = _METADATA.unpack_from(self._bytes(offset, _ALIGNMENT, what))
        if sentinel != _SENTINEL or number not in _TYPES:
            self._refuse(f"there is no blob at {offset}")
        if size > MAX_BLOB or start + size > self._size:
            self._refuse(f"{what} claims {size} bytes from {start}, the file has {self._size}")
        kind = _TYPES[number]
        return Blob(type=kind, start=start, size=size, count=max(0, size * 8 - padding) // kind.bits)

    def read(self, offset: int) -> Array:
        """The values of the blob at `offset`, flat; elements below one byte come as whole ones."""
        blob = self.find(offset)
        if blob.type.numpy is None:
            msg = f"The emulator does not read weights of MIL's type {blob.type.mil} ({self._path.name})."
            raise UnsupportedOpError(msg)
        raw = self._bytes(blob.start, blob.size, f"the blob at {offset}")
        if blob.type.bits >= 8:
            return np.frombuffer(raw, blob.type.numpy)
        return _unpacked(raw, blob.type)[: blob.count]

    def _bytes(self, start: int, size: int, what: str) -> bytes:
        if start + size > self._size:
            self._refuse(f"it ends inside {what}")
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def _refuse(self, reason: str) -> NoReturn:
        msg = f"Weights '{self._path}' are damaged: {reason}. Save the model again."
        raise UnreadableFileError(msg)


def _unpacked(raw: bytes, kind: BlobType) -> Array:
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    rows = bits[: len(bits) // kind.bits * kind.bits].reshape(-1, kind.bits).astype(np.int16)
    values = (rows << np.arange(kind.bits, dtype=np.int16)).sum(axis=1)
    if kind.numpy is np.int8:
        values = np.where(values >= 1 << (kind.bits - 1), values - (1 << kind.bits), values)
    return np.asarray(values.astype(kind.numpy))
