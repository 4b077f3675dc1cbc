# SPDX-License-Identifier: BSD-3-Clause
"""The journal of a broker: jobs that outlive their client and their broker, kept on its disk.

folder   the directory: whose it is, and which broker has it
tail     whether the end of SQLite's log is torn, as a crash leaves it, or damaged
reserve  room that is kept free for what must be written on a full disk
sealed   frames as bytes of a row, or as a file beside the table where they are large
store    the tables: jobs, calls, outcomes, bodies of functions
words    what a client asks of a journal, and how it is answered
mailbox  one end of a link, moved by pyzmq
courier  the journal's own calls of one job: out to the broker's loop, outcomes back
desk     what each word does to the store
clerk    the thread that does all this
"""
