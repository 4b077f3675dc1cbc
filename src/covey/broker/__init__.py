# SPDX-License-Identifier: BSD-3-Clause
"""The broker: matches tasks to doers; reads headers, never opens a parcel.

`loop` (compiled) moves messages, `desk`, `arrivals` and `departures` turn them into facts and orders back
into them, `scheduler` and what it is made of decides. `pyloop` is the loop on pyzmq.
"""
