"""Read scene files: one YAML file a scene, in the folder `scenes` beside the personas."""

from pathlib import Path

from her import paths
from her.errors import InputError
from her.files.yaml import YamlFile
from her.types import Scenario


def load_scenes(folder: Path | None = None) -> dict[str, Scenario]:
    """The scenes of a folder (default: `scenes` beside the personas) by id, sorted; none when there is no such folder.

    Raises:
        InputError: for the first file that is wrong.
    """
    return {path.stem: load_scene(path) for path in _scene_files(folder)}


def load_scene(path: Path) -> Scenario:
    """One scene file; InputError names file, field and what would be right."""
    file = YamlFile(path, "scene")
    return file.require(file.build(Scenario, id=path.stem))


def validate_scenes(folder: Path | None = None, personas: frozenset[str] = frozenset()) -> list[str]:
    """Every problem of every scene file, one sentence each; `personas` are the ids that a scene may name."""
    problems: list[str] = []
    for path in _scene_files(folder):
        try:
            file = YamlFile(path, "scene")
        except InputError as error:
            problems.append(str(error))
            continue
        scene = file.build(Scenario, id=path.stem)
        problems += file.problems
        for name in scene.personas if scene else ():
            if name not in personas:
                problems.append(f"{file.name}: field 'personas' names '{name}', but there is no '{name}.yaml'; mend or delete it")
        if scene and not (scene.title and scene.setting):
            problems.append(f"{file.name}: field '{'setting' if scene.title else 'title'}' is missing; write it")
    return problems


def _scene_files(folder: Path | None) -> list[Path]:
    folder = folder or paths.personas_folder() / "scenes"
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))
