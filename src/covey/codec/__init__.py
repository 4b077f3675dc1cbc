# SPDX-License-Identifier: BSD-3-Clause
"""Objects as bytes, and back: values, parcels, functions, outcomes.

Why: only the two ends of a task's line (client and slot) may open what travels on it.
May not know: sockets, brokers, tasks. Guarantees: what cannot travel is named at the end that seals it.
"""
