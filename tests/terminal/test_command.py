# SPDX-License-Identifier: BSD-3-Clause
"""The command `covey`: what it prints, its exit codes, and that it loads no more than a word needs."""
import pytest

from covey import __version__
from covey.errors import KeyRefused
from covey.terminal.main import WORDS, main
from whole_command import command

PROBE = (
    "import sys; from covey.terminal.main import main\n"
    "try: main(sys.argv[1:])\n"
    "except SystemExit: pass\n"
    "print(*sorted(name for name in sys.modules if name.partition('.')[0] in ('covey', 'zmq', 'numpy')))"
)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"covey {__version__}\n"


def test_help_names_each_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word, (_, purpose) in WORDS.items():
        assert word in text
        assert purpose in text


@pytest.mark.parametrize("arguments", [[], ["bogus"], ["--bogus"], ["--version", "keys"]])
def test_what_cannot_be_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == (0 if arguments[:1] == ["--version"] else 2)
    said = capsys.readouterr()
    assert "covey" in said.err + said.out


@pytest.mark.parametrize(("error", "code", "said"), [
    (KeyRefused("it is torn: copy it anew"), 1, "covey keys: it is torn: copy it anew\n"),
    (KeyboardInterrupt(), 130, ""),
])
def test_what_is_refused_is_one_sentence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr("covey.terminal.keys.run", refuse)
    assert main(["keys", "new"]) == code
    assert capsys.readouterr().err == said


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covey.terminal.keys.run", lambda arguments: [][0])
    with pytest.raises(IndexError):
        main(["keys"])


def test_a_variable_that_cannot_be_read_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COVEY_GRACE", "soon")
    assert main(["keys", "show-public"]) == 1
    assert capsys.readouterr().err == (
        "covey keys: COVEY_GRACE=soon cannot be read: it must be a number of seconds, not below 0\n")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_it_loads_no_more_than_it_needs(arguments: list[str]) -> None:
    done = command("-c", PROBE, *arguments)
    assert done.stdout.splitlines()[-1] == "covey covey.errors covey.terminal covey.terminal.main"


def test_it_is_also_a_module() -> None:
    done = command("-m", "covey", "--version")
    assert (done.returncode, done.stdout) == (0, f"covey {__version__}\n")


def test_exit_codes_reach_the_shell() -> None:
    assert command("-m", "covey", "bogus").returncode == 2
    done = command("-m", "covey", "keys", "show-public", "/nowhere/key")
    assert done.returncode == 1
    assert done.stderr.startswith("covey keys: the key file /nowhere/key is not there: make it with")
    assert done.stderr.count("\n") == 1, "a traceback"


def test_the_command_alone_lists_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    for word, (_, purpose) in WORDS.items():
        assert f"  {word:<10}{purpose}\n" in said
