# SPDX-License-Identifier: BSD-3-Clause
"""What tests of covey, and of what is built on it, run against instead of the real thing."""
