# SPDX-License-Identifier: BSD-3-Clause
"""CPython's own tests of executors, waits and futures, run against `covey.Client`.

They are in the standard library of some builds only (not in Debian's, for one); where they are missing
this file is skipped and says so. What they assume of a pool and a client promises otherwise is listed
in `DIFFERENT`, each with its reason.
"""

import logging

import pytest

import covey
from covey.client.futures import Future

try:
    from test.test_concurrent_futures import executor as executor_tests
    from test.test_concurrent_futures import test_as_completed, test_future, test_shutdown, test_wait
    from test.test_concurrent_futures.util import BaseTestCase
except ImportError as missing:
    pytest.skip(f"this Python comes without CPython's own tests ({missing})", allow_module_level=True)

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

DIFFERENT = {
    "test_max_workers_negative": "counts follow covey's own rule: -n is all but n",
    "test_cancel_futures": "it wants some calls to be running by then; a client may cancel all before a slot is up",
    "test_repr": "a future of covey names its function and its number",
    "test_multiple_set_result": "the same, in the words of an error",
    "test_multiple_set_exception": "the same, in the words of an error",
}


class DifferentMixin:
    """Skips what is listed above."""

    def setUp(self):
        super().setUp()
        if self._testMethodName in DIFFERENT:
            self.skipTest(DIFFERENT[self._testMethodName])


class Flock(covey.Client):
    """A client that takes `max_workers`, as the tests give it."""

    def __init__(self, max_workers=None):
        super().__init__(max_cpu=min(max_workers or 2, 2))


class CoveyMixin(DifferentMixin):
    worker_count = 2
    executor_type = Flock
    executor_kwargs: dict = {}

    def setUp(self):
        super().setUp()
        self.executor = Flock(2)

    def tearDown(self):
        self.executor.shutdown(wait=True)
        self.executor = None
        super().tearDown()


class CoveyExecutorTest(CoveyMixin, executor_tests.ExecutorTest, BaseTestCase):
    pass


class CoveyWaitTest(CoveyMixin, test_wait.WaitTests, BaseTestCase):
    pass


class CoveyAsCompletedTest(CoveyMixin, test_as_completed.AsCompletedTests, BaseTestCase):
    pass


class CoveyShutdownTest(CoveyMixin, BaseTestCase):
    """Of ExecutorShutdownTest what does not start the standard library's executors by name."""

    test_run_after_shutdown = test_shutdown.ExecutorShutdownTest.test_run_after_shutdown
    test_hang_issue12364 = test_shutdown.ExecutorShutdownTest.test_hang_issue12364
    test_cancel_futures = test_shutdown.ExecutorShutdownTest.test_cancel_futures


def create_future(state="PENDING", exception=None, result=None):
    future = Future()
    future._state = state
    future._exception = exception
    future._result = result
    return future


# The tests of Future name these by their module.
test_future.Future = Future
test_future.create_future = create_future
for state in ("PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED"):
    setattr(test_future, f"{state}_FUTURE", create_future(state))
test_future.EXCEPTION_FUTURE = create_future("FINISHED", OSError())
test_future.SUCCESSFUL_FUTURE = create_future("FINISHED", None, 42)


class CoveyFutureTest(DifferentMixin, test_future.FutureTests):
    def setUp(self):
        super().setUp()
        # pytest takes what is logged; the tests look for it on stderr, where it goes without pytest
        logger = logging.getLogger("concurrent.futures")
        logger.addHandler(logging.lastResort)
        self.addCleanup(logger.removeHandler, logging.lastResort)
