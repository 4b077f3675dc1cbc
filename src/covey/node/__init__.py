# SPDX-License-Identifier: BSD-3-Clause
"""The node: a broker that owns a machine. It counts the CPUs, starts slots, and looks after them.

local     LocalNode: the node inside the client's process
keeper    the thread that starts, watches, replaces and kills slots
launch    one slot process: exec, and reaping
ending    how a slot ended, in one line
outfit    what every slot is given
rundir    the private directory for the socket
detect    how many CPUs there are for us
"""
