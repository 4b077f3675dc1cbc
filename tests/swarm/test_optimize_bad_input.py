# SPDX-License-Identifier: BSD-3-Clause
"""`optimize()`: whatever is wrong gets one clear sentence, before anything is started where that can be."""

import math
import os
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import covey
from covey.errors import BadFitness

BOX = {"x": [-5, 5], "y": [-5, 5]}


def fine(args):
    return args["x"] ** 2


def run(fun=fine, optparams=BOX, **options):
    return covey.optimize(fun, optparams, **{"seed": 5, "inline": True, "group_size": 20, **options})


@pytest.mark.parametrize(
    ("optparams", "kind", "words"),
    [
        ({"x": [5, -5]}, ValueError, "'x'.*swapped"),
        ({"x": [1, 1]}, ValueError, "'x'.*both ends are 1"),
        ({"x": [0, math.nan]}, ValueError, "'x'.*NaN"),
        ({}, ValueError, "there are no parameters"),
        ({1: [0, 1]}, TypeError, "names of parameters are strings"),
        ({"x": [0, 1, 2]}, ValueError, "'x'"),
        ([0, 1], ValueError, "one row"),
        ("x", TypeError, "optparams"),
        ({"x": [0, None]}, TypeError, "'x': bounds are numbers, not None"),
        ({"x": covey.swarm.Choice(3)}, TypeError, "'x': a Choice wants a list"),
        ({"x": covey.swarm.Real(0, 3, init=3)}, ValueError, r"'x': init is the pair \(init_lo, init_hi\), not 3"),
        ([[-math.inf, math.inf]], ValueError, r"where there are no bounds, give \[lo, init_lo, init_hi, hi\]"),
        ({"fitness": [0, 1]}, ValueError, "'fitness' is what the result calls the value"),
    ],
)
def test_bounds(optparams, kind, words):
    with pytest.raises(kind, match=words) as caught:
        run(optparams=optparams)
    assert str(caught.value).startswith("optimize(…, optparams)")


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: x[:-1], r"optimize\(.*\): .*\(\) returned 15 values for 16 particles"),
        (lambda x: x[:1], "returned 1 value for 16 particles"),
        (lambda x: 1.0, "returned a single value for 16 particles: .* vectorized=False"),
        (lambda x: ["a"] * len(x), "returned strings"),
        (lambda x: x * 1j, "returned complex numbers"),
        (lambda x: None, r"returned None: .*is a return missing\?"),
        (lambda x: [None] * len(x), "returned values of type NoneType"),
        (lambda x: np.ones((2, len(x))), r"returned an array of shape \(2, 16\) for 16 particles"),
        (lambda x: [[1], [1, 2]], "returned list of uneven parts"),
    ],
)
@pytest.mark.parametrize("on_error", ["worst", "raise"])
def test_what_a_fitness_returns(returned, words, on_error):
    with pytest.raises(BadFitness, match=words):
        run(lambda args: returned(args["x"]), on_error=on_error, chunk=16)


@pytest.mark.parametrize("number", [Fraction, lambda x: Decimal(float(x)), lambda x: 10**30])
def test_any_real_number_will_do(number):
    found = run(lambda x: [number(each) for each in x], {"x": [-5, 5]}, iterations=2)
    assert found["fitness"][0] == found.best["x"] or found["fitness"][0] == 1e30


def test_what_is_masked_is_no_number():
    found = run(lambda x: np.ma.masked_greater(x, 0), {"x": [-5, 5]}, iterations=2)
    assert found["fitness"][0] <= 0
    assert found.faults.nan > 0


def test_rows_of_four_have_bounds_and_a_start():
    found = run(lambda X: (X**2).sum(axis=0), [[-math.inf, -5, 5, math.inf], [0, 0, 1, 2]], iterations=2)  # noqa: N803
    assert found["x"].shape == (2, 1)


@pytest.mark.slow
def test_data_that_cannot_be_sent_is_named():
    data = {"l": threading.Lock()}
    with pytest.raises(covey.NotPicklable, match=r"optimize\(fine\): shared_data\['l'\] is of type lock: cannot"):
        run(shared_data=data, inline=False, max_cpu=1)


def test_what_a_function_of_one_particle_returns():
    with pytest.raises(BadFitness, match="returned 2 values for one particle"):
        run(lambda args: [1, 2], vectorized=False)


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        ({"group_size": 0}, ValueError, r"optimize\(group_size=0\): at least 1 is needed"),
        ({"group_size": 2.5}, TypeError, r"optimize\(group_size=2.5\): a whole number is needed"),
        ({"iterations": -1}, ValueError, "at least 1 is needed"),
        ({"iterations": True}, TypeError, "a whole number is needed"),
        ({"budget": 10}, ValueError, "less than one round of 20 evaluations"),
        ({"budget": 30, "noise": 11}, ValueError, "leaves no room to evaluate the best of each group 11 times more"),
        ({"target": "low"}, TypeError, r"optimize\(target='low'\): a number is needed"),
        ({"target": math.nan}, ValueError, r"optimize\(target=nan\): a number is needed"),
        ({"timeout": "5"}, TypeError, r"optimize\(timeout='5'\): a number is needed"),
        ({"ftol": "0.1"}, TypeError, r"optimize\(ftol='0.1'\): a number is needed"),
        ({"ftol": -1}, ValueError, "a number of at least 0"),
        ({"timeout": math.nan}, ValueError, "a number of at least 0"),
        ({"mode": "round"}, ValueError, "did you mean 'rounds'"),
        ({"on_error": "ignore"}, ValueError, "there are 'worst', 'raise'"),
        ({"in_flight": 3}, ValueError, "means something in mode='stream' only"),
        ({"noise": 3, "mode": "islands"}, ValueError, "works in modes 'rounds' and 'stream'"),
        ({"algorithm": "psa"}, ValueError, "did you mean 'pso'"),
        ({"optinfo": {"omgea": 0.5}}, ValueError, "did you mean 'omega'"),
        ({"seed": -1}, ValueError, "seed is a whole number"),
        ({"seed": "a"}, TypeError, r"optimize\(…\): seed is a whole number"),
        ({"algorithm": "CMA"}, ValueError, r"optimize\(…\): no algorithm is called 'CMA'; did you mean 'cma'\?"),
        ({"algorithm": covey.swarm.Optimizer}, TypeError, r"Optimizer is a class: make one of it"),
        ({"optinfo": [0.7]}, TypeError, r"optimize\(…\): optinfo is a dict"),
        ({"optinfo": {"omega": "x"}}, TypeError, r"optimize\(…\): optinfo\['omega'\] is a number, not 'x'"),
        ({"optinfo": {"omega": math.nan}}, ValueError, r"optinfo\['omega'\] is a finite number"),
        ({"optinfo": {"cl": -3}}, ValueError, "omega, cl and cg are at least 0"),
        ({"algorithm": "auto", "optinfo": {"alone": -3}}, ValueError, "at least 0, and here -3"),
        ({"vectorized": "no"}, TypeError, r"optimize\(vectorized='no'\): True or False is needed"),
        ({"inline": "no"}, TypeError, r"optimize\(inline='no'\): True, False or None is needed"),
        ({"progress": "yes"}, TypeError, r"optimize\(progress='yes'\): True, False or None is needed"),
        ({"checkpoint": 3}, TypeError, r"optimize\(checkpoint=3\): the path of a file is needed"),
        ({"checkpoint": "/"}, IsADirectoryError, r"optimize\(checkpoint='/'\) is a folder"),
        ({"local_data": {"a": np.array(3)}}, TypeError, "'a' is of type ndarray; a list is needed"),
        ({"local_data": {"a": {"p": 1}}}, TypeError, "'a' is of type dict; a list is needed"),
        ({"constraints": [3]}, TypeError, "functions are needed, and 3 is none"),
        ({"constraints": 3}, TypeError, r"optimize\(constraints=3\): a function is needed, or a list of them"),
        ({"callback": 3}, TypeError, r"optimize\(callback=3\): a function is needed"),
        ({"machines": "host"}, TypeError, r"optimize\(machines='host'\): a list of host names is needed"),
        ({"executor": 3}, TypeError, "an Executor is needed"),
        ({"shared_data": [1]}, TypeError, "a dict is needed"),
        ({"local_data": [1]}, TypeError, "a dict of lists is needed"),
        ({"local_data": {"a": 1}}, TypeError, "'a' is of type int; a list is needed, with one entry for each group"),
        ({"local_data": {"a": [1, 2]}, "group_count": 3}, ValueError, "'a' has 2 entries, and there are 3 groups"),
        ({"local_data": {"a": [1, 2], "b": [1]}}, ValueError, "'b' has 1 entry, and there are 2 groups"),
        ({"local_data": {"a": []}}, ValueError, "its lists are empty"),
        ({"algorithm": object()}, TypeError, "lacks ask"),
        ({"algorithm": object(), "group_count": 2}, ValueError, "can serve one group"),
    ],
)
def test_words(words, kind, sentence):
    with pytest.raises(kind, match=sentence):
        run(**words)


@pytest.mark.parametrize("call", [covey.optimize, covey.minimize, covey.maximize])
def test_a_misspelt_keyword(call):
    with pytest.raises(TypeError, match=rf"{call.__name__}\(\) has no keyword 'budgte'; did you mean 'budget'\?"):
        call(fine, BOX, budgte=5)


def test_minimize_says_its_own_name():
    with pytest.raises(ValueError, match=re.escape("minimize(iterations=0)")):
        covey.minimize(fine, BOX, iterations=0)
    with pytest.raises(TypeError, match="a function, a class or another callable is needed"):
        covey.maximize(3, BOX)


def some_raise(args):
    if (args["x"] > 3).any():
        raise ValueError("too far")
    return -(args["x"] ** 2)


def test_what_raises_costs_its_particle_only():
    with pytest.warns(RuntimeWarning, match="raised and counted as the worst; the first: ValueError: too far") as said:
        found = run(some_raise, iterations=30)
    assert said[0].filename == __file__
    assert found["x"][0] == pytest.approx(0, abs=0.01)
    assert 0 < found.faults.raised < 200
    assert "some_raise" in found.faults.first_error
    assert f"{found.faults.raised} raised" in str(found)
    with pytest.raises(ValueError, match="too far"):
        run(some_raise, on_error="raise")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_what_is_no_number_is_counted_and_never_best(bad, mode):
    found = run(lambda x: np.where(x > 0, bad, -(x**2)), {"x": [-5, 5]}, mode=mode, iterations=20)
    assert found["x"][0] <= 0
    assert math.isfinite(found["fitness"][0])
    assert found.faults.nan + found.faults.infinite == found.faults.total > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("options", [{}, {"vectorized": False}, {"mode": "stream"}, {"mode": "islands"}])
def test_what_is_no_number_raises_if_that_is_wanted(bad, options):
    def fun(x):
        return x + bad

    with pytest.raises(BadFitness, match=rf"fun\(\) returned {bad} for the particle {{'x': -?[\d.]+}}"):
        run(fun, {"x": [-5, 5]}, on_error="raise", **options)


@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("at", [[1, 0, 0], [0, 0, 1]])
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_one_group_whose_every_evaluation_raises_does_not_end_the_others(mode, at, vectorized):
    def fun(x, local_data):
        if np.any(local_data["at"]):
            raise ValueError("bad data")
        return x * x

    with pytest.warns(RuntimeWarning, match="the first: ValueError: bad data"):
        found = run(fun, {"x": [-5, 5]}, local_data={"at": at}, mode=mode, vectorized=vectorized, iterations=3)
    assert np.isnan(found["fitness"]).tolist() == [bool(bad) for bad in at]
    assert found.faults.raised == 60


@pytest.mark.slow
def test_the_warning_quotes_the_error_and_not_the_slot():
    with pytest.warns(RuntimeWarning, match=r"the first: ValueError: too far \(result.faults has"):
        found = run(some_raise, chunk=1, inline=False, max_cpu=1)
    assert "too far" in found.faults.first_error


def test_a_fitness_that_gives_no_number_at_all():
    with pytest.raises(BadFitness, match=r"20 evaluations gave no finite number .*20 were NaN"):
        run(lambda args: args["x"] * math.nan)


@pytest.mark.parametrize("options", [{}, {"vectorized": False}, {"mode": "stream"}, {"mode": "islands"}])
def test_a_fitness_that_always_raises_ends_at_once(options):
    calls = []

    def broken(args):
        calls.append(1)
        return args["z"]

    with pytest.raises(KeyError, match="z"):
        run(broken, **options, iterations=1000)
    # A round of twenty, its chunks tried as a whole first.
    assert len(calls) <= 44


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_nothing_infinite_makes_numpy_warn(mode):
    def wild(x):
        values = -np.abs(x)
        values[: len(x) // 2] = [math.inf, -math.inf, 1e308, -1e308, math.nan][: len(x) // 2]
        return values

    found = run(wild, {"x": [-5, 5]}, mode=mode, chunk=10, iterations=5)
    assert found.faults.infinite > 0


@pytest.mark.slow
@pytest.mark.faults
def test_a_fitness_that_kills_its_slots_is_given_up():
    def deadly(x):
        os.kill(os.getpid(), 9)

    with pytest.raises(covey.PoisonTask, match="each slot that ran it died"):
        run(deadly, {"x": [-5, 5]}, inline=False, max_cpu=1, chunk=20)


@pytest.mark.slow
def test_where_there_is_no_gpu_nothing_waits_for_one():
    options = {"gpu_policy": "require_all", "inline": False}
    with covey.Client(max_cpu=1) as client, pytest.raises(ValueError, match="no machine here offers one"):
        run(executor=client, **options)
    with pytest.raises(ValueError, match="no machine here offers one"):
        run(max_cpu=1, **options)


def test_what_cannot_be_sent_is_said():
    lock = threading.Lock()
    with ThreadPoolExecutor(1) as threads, pytest.raises(TypeError, match="cannot pickle"):
        run(lambda x: x * lock.locked(), {"x": [-5, 5]}, inline=False, executor=threads)


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_constraints_that_are_never_a_number_are_named(mode):
    with pytest.raises(BadFitness, match=r"0 infinite; for 200 a constraint was NaN or infinite\)$"):
        run(constraints=lambda args: args["x"] * np.nan, mode=mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_it_comes_with_the_traceback_of_the_slot(mode):
    def broken(args):
        return args["z"]

    with pytest.raises(KeyError) as caught:
        run(broken, inline=False, max_cpu=1, mode=mode)
    lines = [frame.name for frame in caught.traceback]
    assert "broken" in lines
    assert any("evaluations all raised" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
@pytest.mark.parametrize("vectorized", [True, False])
def test_who_gave_a_function_of_one_particle_is_told_how_to_say_so(mode, vectorized):
    with pytest.raises(ValueError, match="one") as caught:
        run(lambda args: int("one"), mode=mode, vectorized=vectorized)
    assert ("wants vectorized=False" in caught.value.__notes__[-1]) is vectorized


def test_an_object_whose_state_nobody_knows_has_no_checkpoint(tmp_path):
    class Asks:
        def ask(self):
            raise AssertionError("it was asked")

        def tell(self, points, values):
            raise AssertionError("it was told")

    with pytest.raises(TypeError, match=r"optimize\(…\): checkpoint= cannot hold the state of Asks"):
        run(algorithm=Asks(), checkpoint=tmp_path / "file")


def test_errors_name_what_is_missing_for_a_picture(monkeypatch):
    found = run()
    for module, call in (("pandas", found.to_frame), ("matplotlib.pyplot", found.plot)):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(ModuleNotFoundError, match=f"needs {module.partition('.')[0]}, which is not installed"):
            call()


@pytest.mark.parametrize("words", [{"algorithm": "psa"}, {"optinfo": {"omgea": 1}}, {"seed": -1}, {"budget": 1}])
@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_nothing_is_started_for_what_is_refused(monkeypatch, mode, words):
    def started(*_):
        raise AssertionError("slots were started")

    monkeypatch.setattr("covey.swarm.places.join_flock", started)
    with pytest.raises(ValueError, match=r"did you mean|seed|less than"):
        run(mode=mode, inline=None, group_count=2, **words)


def test_what_wants_nothing_but_gpus_does_not_run_where_there_is_none():
    with pytest.raises(ValueError, match="wants GPUs and nothing else"):
        covey.minimize(lambda x: x * x, {"x": [-5, 5]}, gpu_policy="require_all", max_gpu=0)


def of_one(x):
    """It has an `if`, which says no to several."""
    return -x if x > 0 else x


@pytest.mark.parametrize("options", [{}, {"mode": "stream", "chunk": 4}, {"mode": "islands"}, {"chunk": 5}])
def test_who_forgot_to_say_that_a_function_is_of_one_particle_is_told(options):
    sentence = r"each call with several particles raised \(ValueError.*vectorized=False"
    with pytest.warns(RuntimeWarning, match=sentence) as said:
        found = run(of_one, {"x": [-5, 5]}, **options)
    assert len(said) == 1
    assert said[0].filename == __file__
    assert found.faults.total == 0
    assert found.evaluations == 200


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_a_function_of_several_that_raises_is_not_taken_for_one_of_one(mode):
    def mostly(x):
        if (x > -4).any():
            raise ValueError("too far")
        return x

    with pytest.warns(RuntimeWarning, match="counted as the worst") as said:
        run(mostly, {"x": [-5, 5]}, mode=mode, iterations=3, chunk=4)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(of_one, {"x": [-5, 5]}, vectorized=False, mode=mode)


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_a_fitness_without_any_number_ends_after_a_round(mode):
    calls = []

    def nothing(x):
        calls.append(len(x))
        return x * math.nan

    with pytest.raises(BadFitness, match=r"20 evaluations gave no finite number .*\(0 raised, 20 were NaN"):
        run(nothing, {"x": [-5, 5]}, mode=mode, iterations=1000)
    assert sum(calls) == 20


@pytest.mark.parametrize("mode", ["rounds", "stream", "islands"])
def test_a_first_round_that_is_infinite_is_an_answer(mode):
    calls = []

    def walled(x):
        calls.extend(x)
        return x * math.nan if len(calls) > 40 else -np.full(len(x), math.inf) if len(calls) <= 20 else -x * x

    assert math.isfinite(run(walled, {"x": [-5, 5]}, mode=mode)["fitness"][0])


@pytest.mark.parametrize("log", ["yes", 1, None])
def test_log_is_yes_or_no(log):
    with pytest.raises(TypeError, match=f"parameter 'x': log is True or False, not {log!r}"):
        run(optparams={"x": covey.swarm.Real(1, 2, log=log)})


@pytest.mark.slow
@pytest.mark.faults
def test_an_island_that_goes_down_with_its_slots_costs_itself_only():
    def deadly(x):
        if (np.abs(x) < 1).any() and len(x) == 5:
            os.kill(os.getpid(), 9)
        return -(x**2)

    options = {"mode": "islands", "islands": 4, "inline": False, "max_cpu": 2, "iterations": 6, "leg": 2, "seed": 3}
    with pytest.warns(RuntimeWarning, match="PoisonTask"):
        one = run(deadly, {"x": [-9, 9]}, **options)
    assert one.stopped_because == "iterations"
    assert one.evaluations == 120
    assert 0 < one.faults.raised < 120
    assert abs(one["x"][0]) >= 1
    with pytest.warns(RuntimeWarning, match="PoisonTask"):
        two = run(deadly, {"x": [-9, 9]}, **options)
    assert one["fitness"].tobytes() == two["fitness"].tobytes()
    assert one.history.best.tobytes() == two.history.best.tobytes()
    with pytest.raises(covey.PoisonTask):
        run(deadly, {"x": [-9, 9]}, **options, on_error="raise")
    with pytest.raises(covey.PoisonTask) as caught:
        run(lambda x: os.kill(os.getpid(), 9), {"x": [-9, 9]}, **options)
    assert "evaluations all raised" in caught.value.__notes__[-1]
