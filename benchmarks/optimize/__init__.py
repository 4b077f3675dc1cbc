# SPDX-License-Identifier: BSD-3-Clause
"""How good and how cheap covey's algorithms are, beside those of other libraries; README.md says how it is made fair.

Importing this package, which comes before numpy, turns BLAS threads off: they help nobody at these sizes, and would
count as CPU time of whoever has them.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
