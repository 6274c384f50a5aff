"""her/runs/command_line.py: exit codes and what is printed."""

from pathlib import Path

import pytest

from her.errors import InputError
from her.runs.command_line import run_command_line
from her.runs.open_run import RunStopped
from tests.runs.settings import RunSettings


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, 0, "the-output"),
        (InputError("no such\nfile"), 2, "no such file"),
        (RunStopped("the budget is spent"), 3, "stopped: the budget is spent; run the same command again to resume"),
        (KeyboardInterrupt(), 3, "stopped: by hand"),
    ],
)
def test_the_end_of_a_run_is_an_exit_code(
    caplog: pytest.LogCaptureFixture, error: BaseException | None, code: int, message: str
) -> None:
    def run(settings: RunSettings) -> Path:
        assert settings.lines == 4
        if error is not None:
            raise error
        return Path("the-output")

    caplog.set_level("INFO")
    assert run_command_line(["lines=4"], RunSettings, run, "synthesize") == code
    assert message in caplog.text


def test_a_dry_run_prints_the_settings_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def run(settings: RunSettings) -> Path:
        raise AssertionError

    assert run_command_line(["lines=4", "--dry-run"], RunSettings, run, "synthesize") == 0
    assert "lines = 4" in capsys.readouterr().out


def test_a_wrong_setting_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert run_command_line(["line=4"], RunSettings, lambda settings: Path(), "synthesize") == 2
    assert "did you mean 'lines'" in caplog.text
