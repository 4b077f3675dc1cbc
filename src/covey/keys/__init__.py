# SPDX-License-Identifier: BSD-3-Clause
"""The keys: who may speak to whom over TCP, and the files that say so.

secret       the one shared secret, and where it is found
pairs        the key pairs that are made of it, one for each role
connection   the connection file: where a broker is, and the keys to it
address      what may stand in it as an address
rotation     a new secret in place of the old one
private      files that nobody else may read
"""
