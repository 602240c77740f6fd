"""The patch of the mish converter: on every released ops.py, and on files that must be refused."""

from __future__ import annotations

import ast
import tarfile
from pathlib import Path

import pytest

from mish_guard.candidate import patch, source
from mish_guard.errors import UsageError
from mish_guard.models import lowerings

DOWNLOADS = Path(__file__).parent.parent / "build" / "downloads"
VERSIONS = ["7.2", "8.3.0", "9.0", "9.1.dev1"]

RELEASED = """\
from somewhere import mb, register_torch_op


@register_torch_op
def neighbour(context, node):
    context.add(mb.tanh(x=1))  # mish


@register_torch_op
def mish(context, node):
    inputs = _get_inputs(context, node, expected=1)
    x = inputs[0]

    softplus = mb.softplus(x=x)
    tanh = mb.tanh(x=softplus)
    res = mb.mul(x=x, y=tanh, name=node.name)
    context.add(res)


@register_torch_op(torch_alias=["other"])
def another(context, node):
    pass
"""


ON_ONE_LINE = (
    RELEASED[: RELEASED.index("def mish(")]
    + "def mish(é,\n         è): s = mb.softplus(x=é); t = mb.tanh(x=s); è.add(mb.mul(x=é, y=t))\n"
    + RELEASED[RELEASED.index("\n\n@register_torch_op(torch_alias") :]
)


@pytest.fixture(scope="module", params=VERSIONS)
def released(request: pytest.FixtureRequest) -> str:
    """ops.py of a release, from its source archive."""
    options = ("--no-binary", "coremltools", "--no-build-isolation")
    archive = source.download(f"coremltools=={request.param}", DOWNLOADS, *options)
    with tarfile.open(archive) as tar:
        (member,) = [each for each in tar.getmembers() if each.name.endswith(str(patch.OPS))]
        held = tar.extractfile(member)
        assert held is not None
        return held.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("lowering", lowerings.TABLE)
def test_every_release_takes_every_lowering_and_nothing_else_changes(released: str, lowering: str) -> None:
    after = patch.patched(released, lowering)
    assert after != released
    assert patch.patched(after, lowering) == after
    before_lines, after_lines = released.splitlines(), after.splitlines()
    at = before_lines.index("def mish(context, node):")
    tail = len(before_lines) - at - 10
    assert before_lines[: at + 1] == after_lines[: at + 1]
    assert before_lines[-tail:] == after_lines[-tail:]


def test_as_is_changes_nothing(released: str) -> None:
    assert patch.patched(released, "as-is") == released


@pytest.mark.parametrize(
    "reformatted",
    [
        RELEASED.replace("\n", "\r\n"),
        RELEASED.replace("def mish(context, node):", "def mish(\n    context,\n    node,\n):"),
        RELEASED.replace("    inputs = ", '    """A docstring."""\n    inputs = '),
        RELEASED.replace("@register_torch_op\ndef mish", '@register_torch_op(torch_alias=["mish_"])\ndef mish'),
        RELEASED.replace("@register_torch_op\ndef mish", '@register_torch_op(torch_alias=["mish"])\ndef activation'),
        RELEASED.replace("(context, node):\n    inputs", "(ctx, op):\n    context, node = ctx, op\n    inputs"),
        RELEASED.replace("def neighbour", "def mishmash").replace("from somewhere", "# é\n\n\n\nfrom somewhere"),
        RELEASED + "\n\nclass mish:\n    pass\n",
        RELEASED.replace("# mish", "# mish \u2028 \x0b \x85").replace(
            "@register_torch_op\ndef n", "\f\n@register_torch_op\ndef n"
        ),
        ON_ONE_LINE,
    ],
    ids=["crlf", "signature", "docstring", "alias", "renamed", "arguments", "neighbours", "class", "feeds", "one line"],
)
def test_what_stands_around_does_not_matter(reformatted: str) -> None:
    after = patch.patched(reformatted, "exp")
    assert "mb.real_div" in after
    assert "mb.softplus" not in after
    ast.parse(after)
    assert patch.patched(after, "exp") == after
    assert after.count("\r\n") in (0, after.count("\n"))
    untouched = reformatted.index("mish(") if "def mish(" in reformatted else reformatted.index("def activation")
    assert after.startswith(reformatted[:untouched])
    assert after.endswith(reformatted[-60:])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (RELEASED.replace("def mish(", "def smish("), "registers 0 converters for mish; expected one"),
        (
            RELEASED + RELEASED[RELEASED.index("@register_torch_op\ndef mish") :],
            r"registers 2 converters .*\(lines 10, 2",
        ),
        (RELEASED.replace("@register_torch_op\ndef mish", "def mish"), "registers 0 converters"),
        (RELEASED.replace("def mish(", "def mish(("), "syntax error at line 10"),
        (RELEASED.replace("mb.tanh(x=softplus)", "mb.sigmoid(x=softplus)"), "it was patched before"),
        (patch.patched(RELEASED, "ratio"), "it was patched before"),
    ],
    ids=["none", "two", "unregistered", "syntax", "other form", "other lowering"],
)
def test_a_file_that_must_not_be_patched_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        patch.patched(text, "exp")


def test_a_folder_without_ops_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no coremltools/converters/mil/frontend/torch/ops\.py"):
        patch.apply(tmp_path, "exp")
