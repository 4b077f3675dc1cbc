# SPDX-License-Identifier: BSD-3-Clause
"""Questions about speed, put to covey and to its peers in the same words: `python -m benchmarks` (see README.md)."""
