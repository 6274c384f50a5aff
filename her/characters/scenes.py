"""Load and validate scene files: one YAML file a scene, in the folder `scenes` beside the personas."""

from pathlib import Path

from her import paths
from her.errors import InputError
from her.files.yaml import YamlFile
from her.types import Scenario


def load_scenes(folder: Path | None = None) -> dict[str, Scenario]:
    """Load the scenes of a folder (default: `scenes` beside the personas) by id, sorted; a missing folder has none.

    Raises:
        InputError: the first file that has a problem.
    """
    return {path.stem: load_scene(path) for path in _scene_files(folder)}


def load_scene(path: Path) -> Scenario:
    """Load one scene file.

    Raises:
        InputError: the first problem; it names file, field, line and a remedy.
    """
    file = YamlFile(path, "scene")
    return file.require(file.build(Scenario, id=path.stem))


def validate_scenes(folder: Path | None = None, personas: frozenset[str] = frozenset()) -> list[str]:
    """Return all problems of all scene files, one sentence each.

    Args:
        folder: the folder of scenes.
        personas: ids of personas that a scene may name.
    """
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
                problems.append(
                    f"{file.name}: field 'personas' names '{name}', but there is no '{name}.yaml'; correct or delete it"
                )
        if scene and not (scene.title and scene.setting):
            problems.append(f"{file.name}: field '{'setting' if scene.title else 'title'}' is missing; write it")
    return problems


def _scene_files(folder: Path | None) -> list[Path]:
    folder = folder or paths.personas_folder() / "scenes"
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))
