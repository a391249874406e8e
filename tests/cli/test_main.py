from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from cli import main


def test_the_table_of_contents_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in main.COMMANDS)


def test_a_command_that_does_not_exist_is_refused_with_the_contents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["dance"]) == 2
    said = capsys.readouterr().err
    assert "kinema has no command 'dance'." in said
    assert "  up " in said


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: kinema {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_command_is_a_module_with_options_and_a_run(name: str) -> None:
    module = import_module(main.COMMANDS[name].module)
    assert callable(module.configure)
    assert callable(module.run)


def test_asking_for_help_imports_no_command() -> None:
    code = "import sys; from cli.main import main; main([]); print([m for m in sys.modules if m.startswith('cli.')])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "['cli.main']"
