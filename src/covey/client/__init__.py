# SPDX-License-Identifier: BSD-3-Clause
"""The client's room: what turns calls into tasks and outcomes into results.

    client      Client, the Executor
    exchange    (compiled) submit: function, arguments, future
    futures     (compiled) concurrent.futures.Future at a tenth of the price
    mapping     a map under way; bundles: how large its bundles are; results: its iterator (compiled)
    options     settings that ride beside a call
    inline      the same without slots
    output      what tasks print
    closing     exit, garbage, fork

May not know: frames, sockets, how slots are started. It opens no parcel but its own outcomes.
"""
