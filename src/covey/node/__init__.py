# SPDX-License-Identifier: BSD-3-Clause
"""The node: a broker that owns a machine. It counts the CPUs, starts slots, and looks after them.

local     LocalNode: the node inside the client's process
keeper    the thread that starts, watches, replaces and kills slots
launch    one slot process: exec, and reaping
ending    how a slot ended, in one line
outfit    what every slot is given
rundir    the private directory for the socket
offer     what this machine offers, and why: cpus, gpus (nvml, cudaprobe, devices), memory; cgroups, counts
answers   what it says when it is asked, and how fast (rate) it is
seats     which slots that makes, each with its kind and its GPU
"""
