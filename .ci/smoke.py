# SPDX-License-Identifier: BSD-3-Clause
"""What a user does first, with an installed covey and without a `__main__` guard: a lambda over two slots."""
import os
import time

import covey

start = time.perf_counter()
fun = covey.distribute(lambda x: (x * x, os.getpid()), max_cpu=2)
found = fun(list(range(1000)))
covey.shutdown(fun)
assert [value for value, _ in found] == [x * x for x in range(1000)], "wrong results"
assert os.getpid() not in {pid for _, pid in found}, "the tasks ran in this process"
print(f"covey {covey.__version__} from {covey.__path__[0]}: 1000 tasks in {time.perf_counter() - start:.2f} s")
