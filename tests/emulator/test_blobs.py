"""Weight files are read back as the storage library of coremltools wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator.blobs import BlobFile

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
