# SPDX-License-Identifier: BSD-3-Clause
"""Settings are read from the environment, once, and what cannot be read says which variable it was."""
import dataclasses

import pytest

from covey.settings import Settings, read


def test_without_variables_the_defaults_hold() -> None:
    assert read({}) == Settings()


def test_each_field_answers_to_its_variable() -> None:
    for field in dataclasses.fields(Settings):
        if field.type == str | None:
            continue
        changed = read({"COVEY_" + field.name.upper(): "0"})
        assert getattr(changed, field.name) == 0
        assert type(getattr(changed, field.name)) is (type(field.default) if field.default is not None else int)


@pytest.mark.parametrize("name", ["key_file", "connection"])
def test_a_path_stays_as_it_is(name: str) -> None:
    assert getattr(read({"COVEY_" + name.upper(): "/run/secrets/0"}), name) == "/run/secrets/0"


@pytest.mark.parametrize(("text", "value"), [("0", False), ("no", False), ("1", True), (" yes", True)])
def test_a_switch(text: str, value: bool) -> None:
    assert read({"COVEY_NATIVE": text}).native is value


def test_an_empty_variable_is_none() -> None:
    assert read({"COVEY_GRACE": "", "COVEY_MAX_CPU": " "}) == Settings()


def test_all_but_one_cpu() -> None:
    assert read({"COVEY_MAX_CPU": "-1"}).max_cpu == -1


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("COVEY_NATIVE", "maybe", "0 or 1"),
        ("COVEY_GRACE", "soon", "a number of seconds"),
        ("COVEY_GRACE", "-1", "a number of seconds"),
        ("COVEY_CRASH_LIMIT", "2.5", "a whole number"),
        ("COVEY_CRASH_LIMIT", "-1", "a whole number"),
        ("COVEY_MAX_CPU", "all", "a whole number"),
    ],
)
def test_nonsense_names_its_variable(name: str, text: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{name}={text} cannot be read: it must be {kind}"):
        read({name: text})


def test_nobody_changes_them_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().grace = 1.0  # type: ignore[misc]
