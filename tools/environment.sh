#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes a virtual environment with covey's src/ on its path: environment.sh DIRECTORY [PYTHON]
#
# Why: Debian's python3 comes without venv and without headers. Where this runs as root beside apt-get, what is missing
# is installed; elsewhere one sentence says what to install. Nothing else of the system is touched.
set -eu

venv=$1
wanted=${2:-}

say() { echo "covey: $*" >&2; }

# Runs, and is new enough: a name on PATH may be a shim for a Python that is not there.
usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    # The system's own first: its headers and packages belong together.
    for name in ${wanted:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if usable "$name"; then
            echo "$name"
            return
        fi
    done
    say "no Python 3.11 or newer was found${wanted:+ as $wanted}; install one, or name one: make PYTHON=/path/to/python3"
    return 1
}

has_venv() { "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; }
has_headers() {
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}
# gcc may be there without the C library's headers.
has_compiler() { echo '#include <stdio.h>' | "${CC:-cc}" -E - >/dev/null 2>&1; }

# The packages of Debian and its relatives that hold what is missing. Only Debian's own Python has such packages.
missing() {
    case $("$python" -c 'import sys; print(sys.base_prefix)') in
        /usr) series=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])') ;;
        *) series= ;;
    esac
    case $series:$python in
        python3*:python3 | python3*:/usr/bin/python3) series=python3 ;;
    esac
    has_venv || echo "${series:+$series-venv}"
    has_headers || echo "${series:+$series-dev}"
    has_compiler || echo gcc libc6-dev
}

python=$(find_python)
if ! (has_venv && has_headers && has_compiler); then
    packages=$(missing | tr '\n' ' ')
    if [ -n "${packages# }" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $packages"
        apt-get -qq update
        # shellcheck disable=SC2086  # a list of words is meant
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages >/dev/null
    fi
fi
lacks=
has_venv || lacks="$lacks, Python's venv module"
has_headers || lacks="$lacks, Python's C headers"
has_compiler || lacks="$lacks, a C compiler that works"
if [ -n "$lacks" ]; then
    say "$("$python" --version) at $(command -v "$python") lacks ${lacks#, }" \
        "(Debian, as root: apt-get install python3-venv python3-dev gcc libc6-dev)"
    exit 1
fi

say "making $venv with $("$python" --version)"
"$python" -m venv --clear "$venv"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
(cd "$(dirname "$0")/../src" && pwd) > "$site/covey-checkout.pth"
