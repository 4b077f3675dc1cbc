# SPDX-License-Identifier: BSD-3-Clause
"""What `optimize()` returns: a mapping, its attributes, its faces."""

import inspect
import pickle
import typing
import xml.etree.ElementTree as Xml

import numpy as np
import pytest

import covey
from covey.swarm.keywords import Options
from covey.swarm.picture import convergence
from covey.swarm.table import table_of


@pytest.fixture(scope="module")
def found():
    return covey.minimize(
        lambda x, kind: x**2 + np.array([len(each) for each in kind]),
        {"x": [-5, 5], "kind": covey.swarm.Choice(["a", "bb"])},
        group_count=2, seed=3, inline=True, iterations=20, group_size=20,
    )


def test_it_is_a_mapping_of_arrays(found):
    assert list(found) == ["x", "kind", "fitness"]
    assert len(found) == 3
    assert all(len(found[name]) == 2 for name in found)
    assert "x" in found
    with pytest.raises(KeyError, match="'z' is none of 'x', 'kind', 'fitness'"):
        found["z"]


def test_its_best_is_the_best_groups(found):
    assert found.best["fitness"] == found["fitness"].min()
    assert found.best["kind"] == "a"
    assert isinstance(found.best["x"], float)


def test_faces(found):
    assert "2 groups" not in str(found)
    assert str(found).startswith("minimum by 'pso', 800 evaluations in place in ")
    assert "Group 1" in str(found)
    assert repr(found).startswith("<covey.swarm.Result: fitness [")
    page = found._repr_html_()
    assert "<svg" in page
    Xml.fromstring(page)


def test_it_can_be_kept(found):
    again = pickle.loads(pickle.dumps(found))
    assert again["x"].tolist() == found["x"].tolist()
    assert again.history.best.tolist() == found.history.best.tolist()


@pytest.mark.parametrize("call", [covey.optimize, covey.maximize, covey.minimize])
def test_an_editor_knows_what_is_returned(call):
    plain, with_info = map(typing.get_type_hints, typing.get_overloads(call))
    assert plain["return"] is covey.swarm.Result
    assert with_info["return"] == tuple[covey.swarm.Result, dict[str, typing.Any]]
    assert with_info["returninfo"] == typing.Literal[True]


def test_an_editor_knows_every_keyword_with_its_type():
    parameters = inspect.signature(covey.optimize).parameters
    taken = {name: its.annotation for name, its in parameters.items() if its.kind is its.KEYWORD_ONLY}
    told = {name: kind.__forward_arg__ for name, kind in Options.__annotations__.items()}
    assert told | {"returninfo": "bool"} == taken


def test_returninfo_gives_the_facts_beside_it():
    found, info = covey.minimize(lambda x: x**2, {"x": [-5, 5]}, seed=3, inline=True, returninfo=True)
    assert info["evaluations"] == found.evaluations == 1000
    assert info["history"] is found.history
    assert info["seed"] == 3


def test_frames(found):
    pandas = pytest.importorskip("pandas")
    frame = found.to_frame()
    assert frame.shape == (2, 3)
    assert isinstance(frame, pandas.DataFrame)
    history = found.history.to_frame()
    assert len(history) == 40
    assert history["best"].iloc[-1] == found["fitness"][1]


def test_plots(found):
    pytest.importorskip("matplotlib").use("Agg")
    axes = found.plot()
    assert len(axes.lines) == 2
    __import__("matplotlib.pyplot").pyplot.close("all")


def test_print_results(capsys):
    covey.print_results({"x": [1.23456, 2], "a": ["u", "v"], "fitness": [0.5, 1e-9]}, precision=3, colwidth=10)
    assert capsys.readouterr().out.splitlines() == [
        "RESULTS   Group 0   Group 1",
        "-" * 30,
        "a         u         v",
        "x         1.23      2",
        "fitness   0.5       1e-09",
    ]


def test_a_matrix_is_a_row_for_each_parameter():
    assert "x[1]" in table_of({"x": np.ones((2, 3)), "fitness": np.ones(3)}, 4, 10)


@pytest.mark.parametrize("best", [[[1.0]], [[np.nan]], [[2.0], [2.0]], [[1.0, np.nan], [0.5, 3.0]]])
def test_every_convergence_is_a_picture(best):
    best = np.array(best)
    Xml.fromstring(convergence(np.ones(best.shape, dtype=np.int64), best))
