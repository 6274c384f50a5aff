"""her/cli/principles.py: list and validate."""

from pathlib import Path

from tests.cli.commands import her


def test_principles_are_listed_and_validated(tmp_path: Path) -> None:
    listed = her("principles", "list", "--language", "zh")
    assert listed.exit_code == 0 and "人物塑造" in listed.stdout and "no-mind-reading" in listed.stdout
    assert her("principles", "validate").stdout.endswith("principles, no problems\n")
    (tmp_path / "layers.yaml").write_text("en: Layers\nzh: 层次\nprinciples: []\n", "utf-8")
    broken = her("principles", "validate", str(tmp_path))
    assert broken.exit_code == 1 and "dimension 'layers' has no principle" in broken.stdout
