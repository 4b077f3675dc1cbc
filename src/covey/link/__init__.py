# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of every link, and the way to libzmq.

`asker` and `doer` (compiled) are the ends; `libzmq`, `post` and `wake` (compiled) are what they and the
broker's loop share; `plain` moves an end's messages through pyzmq, where libzmq cannot be called from C.
"""
