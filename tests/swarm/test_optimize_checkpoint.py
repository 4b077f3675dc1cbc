# SPDX-License-Identifier: BSD-3-Clause
"""`optimize(checkpoint=)`: broken off and taken up, as if nothing had been."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import covey
from covey.errors import BadCheckpoint
from covey.swarm.checkpoint import SHARE, Checkpoint
from covey.swarm.imprint import imprint_of
from covey.swarm.space import Choice, Integer
from waiting import wait_until

BOX = {"x": [-5, 5], "y": [-5, 5]}
MODES = ["rounds", "stream", "islands"]


class Stop(Exception):
    pass


def bowl(x, y):
    return np.cos(3 * x) + x * x + y * y


class Broken:
    """Breaks off after so many calls."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, args):
        self.left -= 1
        if self.left < 0:
            raise Stop
        return bowl(args["x"], args["y"])


def run(fun=None, optparams=BOX, **options):
    wanted = {"group_size": 20, "group_count": 2, "seed": 7, "iterations": 8, "inline": True, "on_error": "raise"}
    return covey.minimize(fun or Broken(10**9), optparams, **{**wanted, **options})


def same(one, other):
    assert one["fitness"].tolist() == other["fitness"].tolist()
    assert one["x"].tolist() == other["x"].tolist()
    assert one.evaluations == other.evaluations
    for what in ("best", "mean", "spread", "evaluations"):
        assert getattr(one.history, what).tobytes() == getattr(other.history, what).tobytes()


def words_of(mode):
    return {"rounds": {}, "stream": {"in_flight": 6}, "islands": {"leg": 2, "islands": 3}}[mode] | {"mode": mode}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("noise", [None, 3])
def test_broken_off_anywhere_it_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, mode, noise):
    if mode == "islands" and noise:
        return
    options = words_of(mode) | {"noise": noise}
    whole = run(**options)
    for calls in (1, 5, 17):
        file = tmp_path / f"{calls}"
        with monkeypatch.context() as patch, pytest.raises(Stop):
            # Written after each iteration, whatever that costs.
            patch.setattr("covey.swarm.checkpoint.SHARE", 1e9)
            run(Broken(calls), checkpoint=file, **options)
        same(run(checkpoint=file, **options), whole)


@pytest.mark.parametrize("mode", MODES)
def test_of_a_finished_run_nothing_is_evaluated_again_but_the_best(tmp_path, mode):
    file = tmp_path / "done"
    whole = run(checkpoint=file, **words_of(mode))
    # Those of two groups show that another Broken is the same function.
    same(run(Broken(2), checkpoint=file, **words_of(mode)), whole)
    same(run(Broken(10**9), checkpoint=file, **words_of(mode)), whole)


@pytest.mark.parametrize("mode", MODES)
def test_more_iterations_go_on_from_there(tmp_path, mode):
    file = tmp_path / "file"
    run(checkpoint=file, iterations=4, **words_of(mode))
    more, whole = run(checkpoint=file, iterations=8, **words_of(mode)), run(**words_of(mode))
    assert more["fitness"].tolist() == whole["fitness"].tolist()
    assert more.evaluations == whole.evaluations
    if mode != "stream":
        # The end of a shorter stream is another order of arrival among its groups.
        same(more, whole)


def test_a_longer_stream_keeps_the_plan_of_the_shorter_one(tmp_path):
    # L-SHADE's population shrinks by plan: another plan would be another search, and no journal would fit.
    options = {"mode": "stream", "algorithm": "de", "in_flight": 4, "checkpoint": tmp_path / "file"}
    run(iterations=4, **options)
    assert run(iterations=12, **options).evaluations == 480


def test_a_journal_that_leads_elsewhere_is_refused(tmp_path):
    run(mode="stream", in_flight=4, checkpoint=tmp_path / "file")
    checkpoint = Checkpoint(tmp_path / "file", lambda: 0.0)
    found = checkpoint.load()
    found["loop"]["marks"][17] += 1
    checkpoint.identity = found["identity"]
    checkpoint.save(lambda: found, last=True)
    with pytest.raises(BadCheckpoint, match="at its entry 17: it was written by another version"):
        run(mode="stream", in_flight=4, checkpoint=tmp_path / "file")


def test_without_a_seed_the_file_has_it(tmp_path):
    file = tmp_path / "file"
    first = run(checkpoint=file, seed=None)
    assert run(checkpoint=file, seed=None).seed == first.seed


def test_constraints_faults_and_odd_parameters_are_in_it(tmp_path):
    params = {"x": Choice(["a", ("b", 2), None]), "y": Integer(1, 9)}

    def fun(x, y):
        return np.where(y == 3, np.nan, y)

    options = {"constraints": lambda x, y: 2 - y, "on_error": "worst"}
    file = tmp_path / "file"
    run(fun, params, checkpoint=file, iterations=3, **options)
    again, whole = run(fun, params, checkpoint=file, **options), run(fun, params, **options)
    assert again["y"].tolist() == whole["y"].tolist() == [2, 2]
    assert again.faults == whole.faults
    assert whole.faults.nan > 0


@pytest.mark.slow
@pytest.mark.faults
def test_a_killed_program_is_taken_up(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, time, covey\n"
        "def fun(x, y):\n"
        "    time.sleep(0.02)  # work\n"
        "    return x * x + y * y\n"
        "box = {'x': [-5, 5], 'y': [-5, 5]}\n"
        "found = covey.minimize(fun, box, seed=3, iterations=12, checkpoint='file', inline=True)\n"
        "print(found['fitness'][0].hex(), found.evaluations)\n"
    )
    place = os.path.dirname(os.path.dirname(covey.__file__))
    program = [sys.executable, script.name]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": place}}
    first = subprocess.Popen(program, **options)
    try:
        written = set()

        def rewritten():
            # each time it is another file
            if (tmp_path / "file").exists():
                written.add((tmp_path / "file").stat().st_ino)
            return len(written) > 2

        wait_until(rewritten)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    (tmp_path / "file").replace(tmp_path / "kept")
    whole = subprocess.run(program, **options, capture_output=True, text=True, check=True, timeout=60).stdout
    (tmp_path / "kept").replace(tmp_path / "file")
    assert subprocess.run(program, **options, capture_output=True, text=True, check=True, timeout=60).stdout == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "program.py"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 8}, "seed is 7 there and 8 in this call"),
        ({"group_count": 3}, "group_count is 2 there and 3 in this call"),
        ({"optparams": {"x": [-5, 5], "z": [-5, 5]}}, "parameters is x, y there and x, z in this call"),
        ({"optparams": {"x": [-5, 5], "y": [-5, 6]}}, r"bounds of parameter 'y' is \[-5, 5\] there and \[-5, 6\]"),
        ({"mode": "stream"}, "mode is rounds there and stream in this call"),
        ({"chunk": 3}, "chunk is 10 there and 3 in this call"),
        ({"optinfo": {"omega": 0.5}}, "optinfo is"),
    ],
)
def test_a_checkpoint_of_another_problem_is_refused(tmp_path, change, sentence):
    file = tmp_path / "file"
    run(checkpoint=file)
    with pytest.raises(BadCheckpoint, match=sentence):
        run(lambda **_: np.zeros(1), checkpoint=file, **change)


DATA = [1.0, 2.0]
LOCK = threading.Lock()


def locked(x):
    with LOCK:
        return (x - DATA[0]) ** 2


@pytest.mark.parametrize("mode", MODES)
def test_what_cannot_be_compared_is_judged_by_the_value_of_the_best(tmp_path, monkeypatch, mode):
    options = words_of(mode) | {"optparams": {"x": [-5, 5]}, "checkpoint": tmp_path / "file", "group_count": 1}
    first = run(locked, **options)
    assert run(locked, **options)["x"] == first["x"]
    monkeypatch.setitem(globals(), "DATA", [3.0])
    with pytest.raises(BadCheckpoint, match=r"its best has the value .* with what the function refers to now"):
        run(locked, **options)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fun": lambda x: x + 1}, "the function was another there, or has changed since; give another file, or"),
        ({"shared_data": {"a": [1, 3]}}, "shared_data was another there"),
        ({"local_data": {"b": np.array([1.0, 3.0])}}, "local_data was another there"),
        ({"constraints": lambda x: x - 1}, "constraints was another there"),
    ],
)
def test_other_functions_and_data_are_another_problem(tmp_path, change, sentence):
    options = {"fun": lambda x: x, "optparams": {"x": [-5, 5]}, "checkpoint": tmp_path / "file"}
    options |= {"shared_data": {"a": [1, 2]}, "local_data": {"b": np.array([1.0, 2.0])}, "constraints": lambda x: x}
    first = run(**options)
    assert run(**options)["x"].tolist() == first["x"].tolist()
    with pytest.raises(BadCheckpoint, match=sentence):
        run(**{**options, **change})


@pytest.mark.slow
def test_another_program_knows_the_function_again(tmp_path):
    (tmp_path / "own.py").write_text("def cost(x):\n    return (x - 1) ** 2 if {1, 2, 3} else 0\n")
    program = """
        import functools, math, numpy as np, own, covey
        ODD, SET = (1, "a", (2.5,)), frozenset("abcdef")

        class Model:
            names = {"one", "two", "three"}

            def __init__(self, k):
                self.k, self.cache = k, {"a", "b", "c"}

            @functools.lru_cache
            def shift(self, n):
                return n + len(ODD) + len(SET)

            def __call__(self, x):
                return own.cost(x) + self.k + self.shift(1) + math.pi + np.cos(0.0)

        found = covey.minimize(Model(3), {"x": [-5, 5]}, seed=3, iterations=4, checkpoint="file", inline=True)
        print(found["fitness"][0].hex())
    """
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    place = os.path.dirname(os.path.dirname(covey.__file__))

    def said():
        done = subprocess.run(
            [sys.executable, script.name], cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": place, "PYTHONHASHSEED": "random"}, capture_output=True, text=True,
            check=False, timeout=60,
        )
        return done.stdout or done.stderr.splitlines()[-1]

    first = said()
    assert said() == said() == first != ""
    for path, old, new in ((tmp_path / "own.py", "- 1", "- 10"), (script, "len(ODD)", "len(SET)")):
        text = path.read_text()
        path.write_text(text.replace(old, new))
        assert "BadCheckpoint" in said()
        path.write_text(text)
    assert said() == first


@pytest.mark.parametrize("loose", [True, False])
def test_imprints(loose):
    def imprint(thing):
        return imprint_of(thing, data=not loose)

    def counted(x):
        nonlocal count
        count += 1
        return x

    count = 0
    before = imprint(counted)
    counted(1)
    assert imprint(counted).firm == before.firm
    assert imprint(counted).loose != before.loose
    for one, other in ((1, 2), ("a", b"a"), ((1, 2), (1, 3)), (frozenset("ab"), frozenset("ac")), (max, min)):
        assert imprint(one).firm != imprint(other).firm
    for one, other in (([1], [2]), ({"a": 1}, {"a": 2}), (np.zeros(2), np.ones(2)), (np.zeros(2), np.zeros((2, 1)))):
        assert (imprint(one).firm == imprint(other).firm) is loose
        assert imprint(one) != imprint(other)
    itself = [1]
    itself.append(itself)
    assert imprint(itself) == imprint(itself)


def test_a_half_written_file_of_a_killed_program_goes(tmp_path):
    left, other = tmp_path / ".file.abcd1234.part", tmp_path / ".filet.abcd1234.part"
    left.write_bytes(b"half")
    other.write_bytes(b"of another")
    run(checkpoint=tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "file"]


def test_a_torn_file_is_refused_by_name(tmp_path):
    file = tmp_path / "file"
    run(checkpoint=file)
    data = file.read_bytes()
    for torn in (b"", data[:100], data[:-1], data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :], b"hello"):
        file.write_bytes(torn)
        with pytest.raises(BadCheckpoint, match="file is torn, or no checkpoint of covey at all"):
            run(checkpoint=file)


def test_a_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run(checkpoint="~/file")
    assert (tmp_path / "file").exists()


def test_a_folder_that_is_not_there_is_named_before_anything_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="lies in a folder that does not exist"):
        run(Broken(0), checkpoint=tmp_path / "none" / "file")


def test_it_holds_any_numbers_bit_for_bit(tmp_path):
    checkpoint = Checkpoint(tmp_path / "file", lambda: 0.0)
    checkpoint.identity = {"a": "b"}
    tree = {"odd": [0.1, float("inf"), -0.0, 2**70, None, True, "ä"], "matrix": np.array([[np.nan, 1e-308]]), "e": {}}
    checkpoint.save(lambda: tree, last=True)
    found = checkpoint.load()
    assert found["odd"] == tree["odd"]
    assert found["matrix"].tobytes() == tree["matrix"].tobytes()
    with pytest.raises(TypeError, match="of type set cannot be written"):
        checkpoint.save(lambda: {"x": set()}, last=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writing_takes_a_small_part_of_the_time(tmp_path):
    times = itertools.count()       # a second passes at each look
    checkpoint = Checkpoint(tmp_path / "file", lambda: float(next(times)))
    written = []
    for number in range(400):
        checkpoint.save(lambda number=number: written.append(number) or {})
    looks = next(times)
    assert 0.5 * SHARE < len(written) / looks < 1.5 * SHARE


@pytest.mark.parametrize(
    ("limit", "reason"), [({"iterations": 4}, "iterations"), ({"budget": 200}, "budget"), ({"target": 1e6}, "target")]
)
def test_a_stream_that_has_gone_further_than_the_call_says_so_and_keeps_its_file(tmp_path, limit, reason):
    options = words_of("stream") | {"checkpoint": tmp_path / "file", "iterations": 8}
    whole = run(**options)
    with pytest.raises(BadCheckpoint, match=f"would have ended before, because of {reason}: set that farther"):
        run(**{**options, **limit})
    same(run(**options), whole)


def test_a_plan_of_ten_iterations_that_nobody_said_goes_on_as_it_was(tmp_path):
    options = {"algorithm": "de", "seed": 3, "inline": True, "group_size": 20, "checkpoint": tmp_path / "file"}
    first = covey.minimize(lambda x: x * x, {"x": [-5, 5]}, **options)
    whole = covey.minimize(lambda x: x * x, {"x": [-5, 5]}, **options, target=1e-9)
    assert first.evaluations == 200
    assert whole.stopped_because == "target"
    assert whole.history.best[:10].tolist() == first.history.best.tolist()
