# SPDX-License-Identifier: BSD-3-Clause
"""Worker scripts on other machines, dialled by a manager: the way of Playdoh's users."""

import signal
import socket
from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from chores import marked, places
from hosts import Lab, Program, pids_marked
from waiting import wait_until

pytestmark = pytest.mark.slow

MANAGER = """
import json, covey
def square(x):
    import time
    time.sleep(0.02)        # work
    return x * x, covey.current().node or "manager"
if __name__ == "__main__":
    dfun = covey.distribute(square, machines={machines}, max_cpu={max_cpu})
    found = dfun(range({count}))
    covey.{end}(dfun)
    print(json.dumps(found))
"""


def manage(lab: Lab, machines: list[str], *, max_cpu: int = 1, count: int = 60, end: str = "finished") -> Program:
    """The manager's program, on the first host."""
    return lab.alpha.script(MANAGER.format(machines=machines, max_cpu=max_cpu, count=count, end=end))


def check(found: list[list[object]], *names: str) -> None:
    """Every result right, in its place, once; and that these machines computed."""
    assert [value for value, _ in found] == [x * x for x in range(len(found))]
    assert {name for _, name in found} == set(names)


def test_two_workers_and_the_manager_compute(lab: Lab) -> None:
    workers = [lab.beta.worker(), lab.gamma.worker()]
    check(manage(lab, [lab.beta.ip, lab.gamma.ip], end="shutdown").result(), "manager", "beta", "gamma")
    assert [worker.wait_end() for worker in workers] == [0, 0]
    assert not pids_marked()


def test_finished_leaves_the_workers_running(lab: Lab) -> None:
    worker = lab.beta.worker()
    for _ in range(2):
        check(manage(lab, [lab.beta.ip], max_cpu=0, count=20).result(), "beta")
    assert worker.process.poll() is None
    assert worker.stop() == 0


def test_a_worker_in_a_thread_is_refused_in_words(lab: Lab) -> None:
    program = lab.beta.script(
        "import threading, covey\nthreading.Thread(target=covey.funworker, kwargs={'max_cpu': 1}).start()\n")
    program.wait_said("serves in the main thread of its program only")
    assert program.wait_end() == 0
    assert not pids_marked()


def test_one_that_is_absent_is_named_while_the_others_work(lab: Lab) -> None:
    lab.beta.worker()
    absent = {
        "10.77.0.9": "", f"{lab.gamma.ip}:4000": "nobody listens there",
        "no-such-host.invalid": "its name cannot be looked up",
    }
    manager = manage(lab, [lab.beta.ip, *absent])
    began = monotonic()
    for machine, why in absent.items():
        manager.wait_said(f"^{machine} is not there: {why}.*; it joins when it comes")
    assert monotonic() - began < 6.0, "five seconds, and one for the interpreter to start"
    check(manager.result(), "manager", "beta")


def test_a_list_does_not_wait_for_a_machine_that_is_silent(lab: Lab) -> None:
    lab.beta.worker()
    for words in ("max_cpu=1, machines=['10.77.0.9']", f"max_cpu=0, machines=['10.77.0.9', {lab.beta.ip!r}]"):
        manager = lab.alpha.script(f"""
            import json, time, covey
            began = time.monotonic()
            dabs = covey.distribute(abs, {words})
            found = dabs([-1, -2])
            took = time.monotonic() - began
            covey.finished(dabs)
            print(json.dumps([found, took]))
        """)
        found, took = manager.result()
        assert found == [1, 2]
        assert took < 2.0, "as long as the silence lasts"
        # It ends before the patience does, and says it nevertheless.
        manager.wait_said("^10.77.0.9 is not there: .*; it joins when it comes")


def test_two_machines_of_one_name_are_told_from_each_other(lab: Lab) -> None:
    lab.beta.worker()
    lab.gamma.script("import covey\ncovey.funworker(max_cpu=1, name='beta')\n").wait_said("slots?, at")
    manager = manage(lab, [lab.beta.ip, lab.gamma.ip])
    line = manager.wait_said("calls itself 'beta'")
    one, other = (f"{host.ip} (tcp://{host.ip}:2718)" for host in (lab.beta, lab.gamma))
    said = "{} calls itself 'beta', as {} does, and one of them is used: if they are two machines, give each its own"
    assert any(said.format(*pair) in line for pair in ((one, other), (other, one))), line
    check(manager.result(), "manager", "beta")


def test_an_authkey_that_differs_is_called_by_its_name_on_both_sides(lab: Lab) -> None:
    worker = lab.beta.worker("max_cpu=1, authkey='correct horse'")
    manager = lab.alpha.script(f"""
        import covey
        with covey.Client(machines=[{lab.beta.ip!r}], max_cpu=0, authkey="battery staple") as client:
            client.submit(abs, 1).result()
    """)
    assert manager.wait_end() == 1
    _, _, there = manager.said.rpartition("NobodyThere: ")
    assert "give both the same authkey" in there
    assert "key file" not in manager.said
    assert "give both the same authkey" in worker.wait_said("was kept out")


def test_nohup_keeps_a_worker_from_ending_with_its_terminal(lab: Lab) -> None:
    worker = lab.beta.script("""
        import signal, covey
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        covey.funworker(max_cpu=1, name="beta")
    """)
    worker.wait_said("slots?, at")
    worker.process.send_signal(signal.SIGHUP)
    check(manage(lab, [lab.beta.ip], max_cpu=0, count=3).result(), "beta")
    assert worker.stop() == 0


def test_a_name_server_that_does_not_answer_delays_nobody(lab: Lab) -> None:
    lab.beta.worker()
    silent = lab.gamma.inside(silent_name_server)
    with silent:
        lab.alpha.ask_names_of(lab.gamma.ip)
        manager = manage(lab, [lab.beta.ip, "slow-name.example"], max_cpu=0)
        manager.wait_said("slow-name.example is not there", deadline=6.0)
        check(manager.result(deadline=8.0), "beta")


def silent_name_server() -> socket.socket:
    """Takes questions and says nothing."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    return server


def test_nobody_there_is_an_error(lab: Lab) -> None:
    manager = manage(lab, ["10.77.0.9", f"{lab.gamma.ip}:4000"], max_cpu=0)
    began = monotonic()
    assert manager.wait_end() == 1
    assert monotonic() - began < 7.0
    _, _, error = manager.said.rpartition("NobodyThere: ")
    assert "10.77.0.9" in error
    assert f"{lab.gamma.ip}:4000" in error


def test_one_that_comes_later_joins(lab: Lab) -> None:
    lab.beta.worker()
    with lab.alpha.client(machines=[lab.beta.ip, lab.gamma.ip], max_cpu=0) as client:
        assert client.submit(abs, -1).result(20) == 1
        lab.gamma.worker()
        wait_until(lambda: "gamma" in places(client), client.__repr__)


def test_two_managers_share_a_worker_fairly(lab: Lab, tmp_path: Path) -> None:
    lab.beta.worker()
    log = str(tmp_path / "log")

    def work(name: str) -> None:
        import time

        with open(log, "a") as file:
            file.write(name)
        time.sleep(0.004)       # work

    with (
        lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as first,
        lab.gamma.client(machines=[lab.beta.ip], max_cpu=0) as second,
    ):
        futures = [client.submit(work, name) for _ in range(200) for client, name in ((first, "1"), (second, "2"))]
        for future in futures:
            future.result(30)
    done = Path(log).read_text()
    assert Counter(done) == {"1": 200, "2": 200}
    both = done[max(done.index("1"), done.index("2")): min(done.rindex("1"), done.rindex("2"))]
    assert len(both) >= 200
    assert 0.35 <= both.count("1") / len(both) <= 0.65, both


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_worker(lab: Lab, number: signal.Signals) -> None:
    worker = lab.beta.worker("max_cpu=2")
    wait_until(lambda: len(worker.children()) == 2, worker.picture)
    assert worker.stop(number) == 0
    assert "Traceback" not in worker.said
    assert not pids_marked()


@pytest.mark.faults
def test_a_killed_worker_leaves_no_slots(lab: Lab) -> None:
    worker = lab.beta.worker("max_cpu=2")
    wait_until(lambda: len(worker.children()) == 2, worker.picture)
    worker.kill()
    wait_until(lambda: not pids_marked(), pids_marked, deadline=5.0)


@pytest.mark.faults
def test_tasks_of_a_killed_worker_run_elsewhere(lab: Lab, tmp_path: Path) -> None:
    workers = {"beta": lab.beta.worker(), "gamma": lab.gamma.worker()}
    with lab.alpha.client(machines=[lab.beta.ip, lab.gamma.ip], max_cpu=0) as client:
        futures = [client.submit(marked(str(tmp_path)), number) for number in range(60)]
        wait_until(lambda: (tmp_path / "beta").exists() and (tmp_path / "gamma").exists(), client.__repr__)
        workers["beta"].kill()
        assert [future.result(30) for future in futures] == list(range(60))


@pytest.mark.faults
def test_tasks_of_a_worker_that_is_cut_off_run_elsewhere(lab: Lab, tmp_path: Path) -> None:
    lab.beta.worker()
    lab.gamma.worker()
    with lab.alpha.client(machines=[lab.beta.ip, lab.gamma.ip], max_cpu=0) as client:
        futures = [client.submit(marked(str(tmp_path)), number) for number in range(60)]
        wait_until(lambda: (tmp_path / "beta").exists() and (tmp_path / "gamma").exists(), client.__repr__)
        lab.spaces.cut("beta")
        assert [future.result(30) for future in futures] == list(range(60))
        lab.spaces.mend("beta")
        wait_until(lambda: "beta" in places(client), client.__repr__)


def test_large_arguments_and_results_arrive_intact(lab: Lab) -> None:
    numpy = pytest.importorskip("numpy")
    lab.beta.worker()
    there = numpy.random.default_rng(7).random(2_500_000)
    with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:
        futures = [client.submit(lambda array, number: array[::-1] + number, there, number) for number in range(3)]
        for number, future in enumerate(futures):
            assert numpy.array_equal(future.result(60), there[::-1] + number)


def test_what_a_task_started_goes_with_a_node_that_is_killed(lab: Lab) -> None:
    worker = lab.beta.worker()
    with lab.alpha.client(machines=[lab.beta.ip], max_cpu=0) as client:

        def start() -> int:
            import subprocess

            return subprocess.Popen(["sleep", "60"]).pid

        child = client.submit(start).result(20)
        assert Path(f"/proc/{child}").exists()
        worker.kill()
        wait_until(lambda: not Path(f"/proc/{child}").exists(), f"the child {child} is still there".__str__)
