"""Core ML's model format as protobuf messages, from a description of it in package data.

Whoever reads a model imports no coremltools: the one that is installed may be the one that is judged.
`ci/render_protobuf.py` makes the description from a released coremltools (BSD-3-Clause, Apple Inc.).
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Sequence
from typing import Any, Protocol

from mish_guard import files

DESCRIPTION = files.DATA / "coreml.protobuf.gz"


class Message(Protocol):
    """A protobuf message: its class is made at run time, so that no type checker knows its fields."""

    DESCRIPTOR: Any

    def WhichOneof(self, oneof_group: str) -> str | None:  # noqa: N802 - protobuf's name
        """The member of a oneof that is set; None if none is."""

    def ListFields(self) -> Sequence[tuple[Any, Any]]:  # noqa: N802 - protobuf's name
        """The descriptor and the value of every field that is set."""

    def __getattr__(self, name: str) -> Any:
        """A field, or another method of protobuf."""

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field that holds a single value."""


def model() -> Message:
    """An empty message CoreML.Specification.Model."""
    made: Message = _class("CoreML.Specification.Model")()
    return made


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
