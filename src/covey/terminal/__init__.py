# SPDX-License-Identifier: BSD-3-Clause
"""The words of the command `covey`.

main     the first word, and what becomes of errors
broker   `covey broker`: a meeting point
node     `covey node`: this machine for others
status   `covey status`: a table of nodes, slots and tasks
drain    `covey drain`: a node finishes and leaves
doctor   `covey doctor`, and its checks
inquiry  a question to a broker or node
listening  what may stand behind --listen
keys     `covey keys new | show-public | rotate`
"""
