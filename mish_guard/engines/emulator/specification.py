"""Core ML's model format as protobuf messages, from a description of it in package data.

Whoever reads a model imports no coremltools: the one that is installed may be the one that is judged.
`ci/render_protobuf.py` makes the description from a released coremltools (BSD-3-Clause, Apple Inc.).
"""

from __future__ import annotations

import functools
import gzip
from typing import Any

from mish_guard import files

DESCRIPTION = files.DATA / "coreml.protobuf.gz"


def model() -> Any:
    """An empty message CoreML.Specification.Model."""
    return _class("CoreML.Specification.Model")()


@functools.cache
def _class(name: str) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


@functools.cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    described = descriptor_pb2.FileDescriptorSet.FromString(gzip.decompress(DESCRIPTION.read_bytes()))
    pool = descriptor_pool.DescriptorPool()
    for file in described.file:
        pool.Add(file)
    return pool
