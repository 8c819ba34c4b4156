"""One line, one exit code each."""

from __future__ import annotations

import pytest

from toolkit import errors
from toolkit.errors import BrokenInput, EdgeExportError, unknown_name


def tree(kind: type[EdgeExportError]) -> list[type[EdgeExportError]]:
    return [kind] + [k for sub in kind.__subclasses__() if sub.__module__ == "toolkit.errors" for k in tree(sub)]


def test_every_error_is_drawn_in_the_docstring_with_its_exit_code() -> None:
    for kind in tree(EdgeExportError):
        line = next(x for x in (errors.__doc__ or "").splitlines() if kind.__name__ in x)
        assert str(kind.exit_code) in line.split(), line


def test_an_error_says_what_where_and_remedy_on_one_line() -> None:
    error = BrokenInput("is\n damaged", where="a\nb.tflite", remedy="convert\tit again")
    assert str(error) == "a b.tflite: is damaged; convert it again"
    assert str(BrokenInput("alone")) == "alone"


@pytest.mark.parametrize(
    ("name", "near"), [("int9", "int8"), ("flaot32", "float32"), ("dynamic", "dynamic_range"), ("zzz", "there are")]
)
def test_unknown_names_offer_the_nearest(name: str, near: str) -> None:
    error = unknown_name("recipe", name, ["float32", "int8", "dynamic_range"])
    assert near in str(error)
    assert error.exit_code == 2
