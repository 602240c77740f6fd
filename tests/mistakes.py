"""Files as nobody should write them, by kind: what a reader meets where it expects JSON, YAML, arrays or a Python."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import Any

import numpy as np

from tests.conftest import SMALL_MATRIX

GARBAGE: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "brace": b"{",
    "list": b"[]",
    "null": b"null",
    "true": b"true",
    "number": b"7",
    "text": b'"text"',
    "object": b"{}",
    "NaN": b"NaN",
    "NaN inside": b'{"schema_version": NaN}',
    "Infinity": b'{"schema_version": 2, "x": Infinity}',
    "minus Infinity": b'{"schema_version": 2, "x": -Infinity}',
    "1e999": b'{"schema_version": 2, "x": 1e999}',
    "long number": b'{"schema_version": 2, "x": ' + b"9" * 6000 + b"}",
    "deep lists": b"[" * 100_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "just too deep": b'{"schema_version": 2, "a": ' + b"[" * 900 + b"]" * 900 + b"}",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "null bytes": b"\0" * 100,
    "half a pair": b'{"schema_version": 2, "x": "\\ud800"}',
    "version text": b'{"schema_version": "2"}',
    "version true": b'{"schema_version": true}',
    "version old": b'{"schema_version": 0}',
    "version new": b'{"schema_version": 999}',
    "no seal": b'{"schema_version": 2}',
    "wrong seal": b'{"schema_version": 2, "sha256": "00"}',
    "trailing": b"{} {}",
    "comment": b"// no\n{}",
    "escape": b'{"schema_version": "\x1b[31m"}',
    "escaped escape": b'{"schema_version": 2, "sha256": "\\u001b]0;x\\u0007"}',
}

YAML_TEXT: dict[str, str] = {
    "empty": "",
    "list": "- a\n",
    "date": "schema_version: 2026-11-26\n",
    "date key": "2026-11-26: 1\n",
    "int key": "1: 2\n",
    "null key": "~: 2\n",
    "list as key": "? [a]\n: 1\n",
    "twice": "schema_version: 1\nschema_version: 1\n",
    "recursive alias": "a: &a [*a]\n",
    "alias": "a: &x 1\nb: *x\n",
    "anchor": "a: &x 1\n",
    "merge": "a: &x {b: 1}\n<<: *x\n",
    "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{n}: &{n} [{','.join(['*' + m] * 9)}]\n" for m, n in zip("abcdefghi", "bcdefghij", strict=True)),
    "tag": "a: !!python/object/apply:os.system ['true']\n",
    "own tag": "a: !x 1\n",
    "binary": "a: !!binary aGk=\n",
    "set": "a: !!set {b}\n",
    "infinity": "schema_version: .inf\n",
    "nan": "schema_version: .nan\n",
    "deep": "a: " + "[" * 5_000,
    "deep and closed": "a: " + "[" * 100 + "]" * 100 + "\n",
    "tab": "a:\n\t- b\n",
    "unclosed": "a: 'b\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "directive": "%YAML 9.9\n---\na: 1\n",
    "control": "a: \x01\n",
    "version": SMALL_MATRIX.replace("schema_version: 1", "schema_version: 99"),
    "no groups": "schema_version: 1\ngroups: {}\n",
    "unknown family": SMALL_MATRIX.replace("family: sweep", "family: swoop"),
    "unknown role": SMALL_MATRIX.replace("role: graft", "role: draft"),
    "unknown field": SMALL_MATRIX.replace("cases:", "casses:"),
    "case that is a number": SMALL_MATRIX.replace("[mish-k3]", "[1]"),
    "unknown backend": SMALL_MATRIX.replace("mlprogram-fp16", "mlprogram-fp8"),
    "cell twice": SMALL_MATRIX + SMALL_MATRIX.partition("groups:\n")[2],
}

YAML = {name: text.encode() for name, text in YAML_TEXT.items()} | {"not UTF-8": b"schema_version: 1 # \xe9\n"}


def _array(**options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(**options))
    return stream.getvalue()


def _archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


GOOD_ARRAY = _array(shape=(1, 32, 8, 8))
ARRAYS: dict[str, bytes] = GARBAGE | {
    "pickle": pickle.dumps({"x": 1}),
    "array of objects": _header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + pickle.dumps([None]),
    "array of text": _array(shape=(1, 32, 8, 8), dtype="<U4"),
    "array of complex numbers": _array(shape=(1, 32, 8, 8), dtype="<c8"),
    "array of records": _array(shape=(1, 32, 8, 8), dtype=[("a", "<f4"), ("b", "<i2")]),
    "array of dates": _array(shape=(1, 32, 8, 8), dtype="<M8[s]"),
    "array of another shape": _array(shape=(1, 32, 8, 9)),
    "array of another rank": _array(shape=(3,)),
    "no element": _array(shape=(0,)),
    "scalar": _array(shape=()),
    "cut": GOOD_ARRAY[:1000],
    "cut in its header": GOOD_ARRAY[:40],
    "huge": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"),
    "negative": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"),
    "header that runs": _header("__import__('os').abort()"),
    "archive of nothing": _archive(),
    "archive of text": _archive(**{"x.npy": b"no"}),
    "archive of another name": _archive(**{"z.npy": GOOD_ARRAY}),
    "archive of one too many": _archive(**{"x.npy": GOOD_ARRAY, "z.npy": GOOD_ARRAY}),
    "archive cut": _archive(**{"x.npy": GOOD_ARRAY})[:-30],
}
RECORDS: dict[str, bytes] = GARBAGE | {"no files": b'{"files": {}}', "files that are none": b'{"files": 7}'}
PYTHONS: dict[str, bytes] = {"empty": b"", "text": b"print(1)", "noise": bytes(range(256))}
