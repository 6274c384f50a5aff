"""her/cli/principles.py: list, validate and apply."""

import json
import shutil
from pathlib import Path

from her.judging.principle_edits import FORMAT
from her.judging.principles import LIBRARY, library_hash
from tests.cli.commands import her


def test_principles_are_listed_and_validated(tmp_path: Path) -> None:
    listed = her("principles", "list", "--language", "zh")
    assert listed.exit_code == 0 and "人物塑造" in listed.stdout and "no-mind-reading" in listed.stdout
    assert her("principles", "validate").stdout.endswith("principles, no problems\n")
    (tmp_path / "layers.yaml").write_text("en: Layers\nzh: 层次\nprinciples: []\n", "utf-8")
    broken = her("principles", "validate", str(tmp_path))
    assert broken.exit_code == 1 and "dimension 'layers' has no principle" in broken.stdout


def test_edits_are_applied_and_a_faulty_file_is_one_sentence(tmp_path: Path) -> None:
    library = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    edits = {"format": FORMAT, "library": library_hash(library), "edits": [{"id": "no-mind-reading", "action": "drop"}]}
    (tmp_path / "edits.json").write_text(json.dumps(edits), "utf-8")
    done = her("principles", "apply", str(tmp_path / "edits.json"), "--to", str(library))
    assert done.exit_code == 0 and "0 edited, 0 merged, 1 dropped" in done.stdout
    assert "no-mind-reading" not in her("principles", "list", "--folder", str(library)).stdout
    again = her("principles", "apply", str(tmp_path / "edits.json"), "--to", str(library))
    assert again.exit_code != 0 and "is not the library that the edits" in str(again.exception) + again.output
