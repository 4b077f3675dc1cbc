# SPDX-License-Identifier: BSD-3-Clause
"""`optimize(checkpoint=)`: broken off and taken up, as if nothing had been."""

import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import covey
from covey.errors import BadCheckpoint
from covey.swarm.checkpoint import SHARE, Checkpoint
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
    return covey.minimize(fun or (lambda x, y: bowl(x, y)), optparams, **{**wanted, **options})


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
def test_of_a_finished_run_nothing_is_evaluated_again(tmp_path, mode):
    file = tmp_path / "done"
    whole = run(checkpoint=file, **words_of(mode))
    same(run(Broken(0), checkpoint=file, **words_of(mode)), whole)


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
        ({"optparams": {"x": [-5, 5], "y": [-5, 6]}}, "bounds of parameter 'y' is"),
        ({"mode": "stream"}, "mode is rounds there and stream in this call"),
        ({"chunk": 3}, "chunk is 16 there and 3 in this call"),
        ({"optinfo": {"omega": 0.5}}, "optinfo is"),
    ],
)
def test_a_checkpoint_of_another_problem_is_refused(tmp_path, change, sentence):
    file = tmp_path / "file"
    run(checkpoint=file)
    with pytest.raises(BadCheckpoint, match=sentence):
        run(lambda **_: np.zeros(1), checkpoint=file, **change)


def test_a_torn_file_is_refused_by_name(tmp_path):
    file = tmp_path / "file"
    run(checkpoint=file)
    data = file.read_bytes()
    for torn in (b"", data[:100], data[:-1], data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :], b"hello"):
        file.write_bytes(torn)
        with pytest.raises(BadCheckpoint, match="file is torn, or no checkpoint of covey at all"):
            run(checkpoint=file)


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
