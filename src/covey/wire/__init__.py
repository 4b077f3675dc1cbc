# SPDX-License-Identifier: BSD-3-Clause
"""The room of the protocol: compiled, and without sockets, clocks and pickles.

`ext/covey/wire/protocol.pxd` is the protocol's page; `docs/reference/protocol.md` is generated from it.
"""
