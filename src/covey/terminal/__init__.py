# SPDX-License-Identifier: BSD-3-Clause
"""The words of the command `covey`.

main     the first word, and what becomes of errors
keys     `covey keys new | show-public | rotate`
"""
