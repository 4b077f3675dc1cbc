# SPDX-License-Identifier: BSD-3-Clause
"""`optimize()`: the styles in which a fitness may be written, and what each is given."""

import os

import numpy as np
import pytest

import covey
from covey.swarm.manner import Manner, manner_of
from covey.swarm.space import Choice, Integer, Real

BOX = {"x": [-5, 5], "y": [-5, 5]}
SQUARE = [[-5, 5], [-5, 5]]


def as_dict(args):
    return args["x"] ** 2 + args["y"] ** 2


def by_name(y, x):
    return x**2 + y**2


def matrix(X):  # noqa: N803
    return X[0] ** 2 + X[1] ** 2


def one_dict(args):
    return args["x"] ** 2 + args["y"] ** 2


def one_by_name(x, y):
    return x * x + y * y


class Distance:
    def __call__(self, args):
        return args["x"] ** 2 + args["y"] ** 2


def run(fun, optparams=BOX, **options):
    return covey.minimize(fun, optparams, **{"seed": 3, "inline": True, "group_size": 20, **options})


@pytest.mark.parametrize("fun", [as_dict, by_name, lambda **all: all["x"] ** 2 + all["y"] ** 2, Distance, Distance()])
def test_every_vectorised_style_gives_the_same(fun):
    assert run(fun)["fitness"] == run(as_dict)["fitness"]


@pytest.mark.parametrize("fun", [one_dict, one_by_name])
def test_every_scalar_style_gives_the_same(fun):
    assert run(fun, vectorized=False)["fitness"] == run(as_dict)["fitness"]


def test_a_matrix_for_parameters_without_names():
    # Hard bounds instead of an initial interval: another search.
    result = run(matrix, SQUARE)
    assert result["x"].shape == (2, 1)
    assert result["fitness"] == run(lambda point: float(point @ point), SQUARE, vectorized=False)["fitness"]
    named = run(as_dict, {"x": [-5, -5, 5, 5], "y": [-5, -5, 5, 5]})
    assert result["x"][:, 0].tolist() == [named["x"][0], named["y"][0]]


def test_what_arrives_is_of_the_parameters_own_kind():
    seen = {}

    def fun(rate, layers, kind):
        seen.update(rate=rate, layers=layers, kind=kind)
        return rate + layers + np.array([{"a": 0, "b": 1}[each] for each in kind])

    result = run(fun, {"rate": Real(1e-4, 1, log=True), "layers": Integer(1, 5), "kind": Choice(["a", "b"])})
    assert seen["layers"].dtype == np.int64
    assert set(seen["kind"]) <= {"a", "b"}
    assert result["layers"].tolist() == [1]
    assert result["kind"].tolist() == ["a"]


def test_a_scalar_function_is_given_plain_python():
    kinds = set()

    def fun(n, kind):
        kinds.add((type(n), type(kind)))
        return n

    run(fun, {"n": Integer(1, 5), "kind": Choice(["a", "b"])}, vectorized=False)
    assert kinds == {(int, str)}


DATA = {"shared_data": {"to": 2.0}, "local_data": {"from": [10.0, 20.0]}}


def test_playdohs_arguments_in_playdohs_order():
    def fun(args, shared, local, gpu):
        assert gpu is False
        assert len(local["from"]) == len(args["x"])
        return (args["x"] - shared["to"]) ** 2 + local["from"]

    assert run(fun, {"x": [0, 5]}, iterations=30, **DATA)["fitness"] == pytest.approx([10, 20], abs=1e-3)


def test_arguments_by_their_names_in_any_order():
    def fun(x, *, local_data, shared_data):
        return (x - shared_data["to"]) ** 2 + local_data["from"]

    assert run(fun, {"x": [0, 5]}, iterations=30, **DATA)["fitness"] == pytest.approx([10, 20], abs=1e-3)


def test_a_scalar_function_gets_its_groups_own_entry():
    def fun(args, local_data):
        return (args["x"] - 1) ** 2 + local_data["from"]

    result = run(fun, {"x": [0, 5]}, vectorized=False, iterations=30, local_data=DATA["local_data"])
    assert result["fitness"] == pytest.approx([10, 20], abs=1e-3)


def test_local_data_of_any_kind_is_expanded():
    def fun(args, local_data):
        assert isinstance(local_data["name"], list)
        assert local_data["curve"].shape == (len(args["x"]), 3)
        rank = np.array([{"a": 0, "b": 1}[name] for name in local_data["name"]])
        return args["x"] ** 2 + rank + local_data["curve"].sum(axis=1)

    data = {"name": ["a", "b"], "curve": np.ones((2, 3))}
    assert run(fun, {"x": [-5, 5]}, local_data=data, iterations=30)["fitness"] == pytest.approx([3, 4], abs=1e-3)


def test_a_class_is_made_once_with_what_it_declares():
    made = []

    class Costly:
        def __init__(self, shared_data, local_data):
            made.append((shared_data["to"], local_data["from"]))

        def __call__(self, args, local_data):
            return args["x"] ** 2 + local_data["from"]

    assert run(Costly, {"x": [-5, 5]}, iterations=30, **DATA)["fitness"] == pytest.approx([10, 20], abs=1e-3)
    assert made == [(2.0, [10.0, 20.0])]


@pytest.mark.slow
def test_a_class_is_not_made_once_more_in_the_callers_process_however_cheap_its_calls_are(tmp_path):
    class Cheap:
        def __init__(self):
            (tmp_path / str(os.getpid())).touch()

        def __call__(self, x):
            return x * x

    found = covey.minimize(Cheap, {"x": [-5, 5]}, iterations=100, group_size=20, max_cpu=1, seed=1)
    assert found.workers_used == 1
    assert len(list(tmp_path.iterdir())) == 1


class InOrder:
    def __init__(self, a, b=None, *more):
        self.to = a["to"]

    def __call__(self, x):
        return (x - self.to) ** 2


class TooMuch:
    def __init__(self, a, b, c, d):
        pass

    def __call__(self, x):
        return x


def test_a_class_is_made_in_playdohs_order_too():
    assert run(InOrder, {"x": [-5, 5]}, iterations=30, shared_data={"to": 1.5})["x"] == pytest.approx([1.5], abs=0.01)
    with pytest.raises(TypeError, match="wants a, b, c, d when it is made"):
        run(TooMuch, {"x": [-5, 5]})


def test_a_fitness_may_write_into_what_it_is_given():
    def careless(args):
        args["x"] *= 0
        return args["x"]

    assert run(careless, {"x": [-5, 5]})["x"][0] != 0


@pytest.mark.parametrize(
    ("fun", "manner"),
    [
        (lambda args: 0, Manner("dict")),
        (lambda args, local_data: 0, Manner("dict", (), ("local_data",))),
        (lambda args, a, b: 0, Manner("dict", ("shared_data", "local_data"))),
        (lambda *args: 0, Manner("dict", ("shared_data", "local_data", "use_gpu"))),
        (lambda args, precision=3: 0, Manner("dict")),
        (lambda x, y, use_gpu=False: 0, Manner("names", (), ("use_gpu",))),
        (np.sum, Manner("dict")),
    ],
)
def test_what_a_function_declares(fun, manner):
    assert manner_of(fun, ("x", "y"), "f") == manner


@pytest.mark.parametrize(
    ("fun", "sentence"),
    [
        (lambda x: 0, "declares x and not y"),
        (lambda: 0, "takes no arguments"),
        (lambda args, a, b, c, d: 0, "wants args, a, b, c, d"),
        (lambda x, y, z: 0, "wants z, which is no parameter of the search: optparams has x, y"),
        (type("Empty", (), {}), "is a class without __call__"),
    ],
)
def test_what_cannot_be_called_is_refused_before_it_is(fun, sentence):
    with pytest.raises(TypeError, match=sentence):
        run(fun)


def test_groups_share_each_call_and_find_what_they_would_alone():
    sizes = []

    def fun(args, local_data):
        sizes.append(len(args["x"]))
        return (args["x"] - local_data["at"]) ** 2

    together = run(fun, {"x": [-5, 5]}, local_data={"at": [1.0, 2.0, 3.0]}, group_size=7, chunk=16, iterations=20)
    assert set(sizes) == {16, 5}
    assert together.group_count == 3
    assert together["x"] == pytest.approx([1, 2, 3], abs=0.05)
    alone = run(fun, {"x": [-5, 5]}, local_data={"at": [1.0]}, group_size=7, iterations=20)
    assert alone["x"][0] == together["x"][0]


def test_maximize_and_minimize_tell_the_true_sign():
    up = covey.maximize(lambda x: 5 - x**2, {"x": [-5, 5]}, seed=1, iterations=30, inline=True)
    down = covey.minimize(lambda x: x**2 - 5, {"x": [-5, 5]}, seed=1, iterations=30, inline=True)
    assert up["fitness"] == -down["fitness"]
    assert up["fitness"] == pytest.approx([5], abs=1e-3)
    assert covey.optimize(lambda x: 5 - x**2, {"x": [-5, 5]}, seed=1, iterations=30, inline=True)["x"] == up["x"]
