#!/usr/bin/env bash
# Makes the environment .venv, once: pinned packages from the lock file, the project itself, off-screen OpenGL,
# and what Qt needs for the tests of the panels. A step that was completed from the same input is not done again;
# one that was interrupted is. With the argument "bench": what the benchmarks compare with, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'netablation: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

# The real path of the first interpreter that is supported (a venv's own one leads to its base).
find_python() {
    local candidate candidates=(python3 python3.13 python3.12 python3.11 python3.10)
    if [[ -n ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        "$candidate" -c 'import os, sys
if (3, 10) <= sys.version_info[:2] <= (3, 13):
    print(os.path.realpath(sys.executable))' 2>/dev/null | grep . && return
    done
    fail "needs Python 3.10 to 3.13, not found as ${candidates[*]} (choose one: make PYTHON=/path/to/python3)"
}

may_install() { command -v apt-get >/dev/null && { [[ $EUID == 0 ]] || sudo -n true 2>/dev/null; }; }

debian_install() {
    local as_root=()
    [[ $EUID == 0 ]] || as_root=(sudo -n)
    say "installing $* (Debian)"
    { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$@"; } >/dev/null 2>&1
}

# done_from STEP INPUT: whether the step was completed from just this input.
done_from() { [[ -f .venv/$1.done && $(<".venv/$1.done") == "$2" ]]; }

pip_install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action ignore "$@"
}

# The lock file is complete: nothing is resolved anew, so that a newer release elsewhere changes nothing.
install_locked() { pip_install --require-hashes --no-deps --only-binary :all: -r "$1"; }

install_packages() {
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        { may_install && debian_install python3-venv && "$python" -c 'import ensurepip' 2>/dev/null; } ||
            fail "Python's venv is incomplete; as root: apt-get install python3-venv"
    fi
    say "making .venv from the lock file (once; about 1.5 GB, some minutes)"
    rm -rf .venv
    "$python" -m venv .venv || fail "cannot write .venv in $PWD"
    install_locked requirements.lock ||
        fail "not all packages could be installed; the reason is above, and the next run starts over"
}

install_project() { pip_install --no-deps --no-build-isolation --editable .; }

install_bench() { install_locked requirements-bench.lock; }

# In a process of its own, and silenced with its shell: without OpenGL, rendering ends the process.
can_render() { (.venv/bin/python -m NETAblationLib.scene.offscreen) >/dev/null 2>&1; }

offer_rendering() {
    can_render && return
    if may_install; then
        debian_install libegl1 libgl1-mesa-dri || true
        can_render && return
    fi
    say "off-screen OpenGL is missing: carrying on without pictures (as root: apt-get install libegl1 libgl1-mesa-dri)"
    return 1
}

can_open_panels() { QT_QPA_PLATFORM=offscreen .venv/bin/python -c 'from PySide6 import QtUiTools, QtWidgets
QtWidgets.QApplication([])' >/dev/null 2>&1; }

# What Qt's own libraries link to, and a font, without which the panels have no text.
readonly qt_packages=(libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 fonts-dejavu-core)

offer_panels() {
    can_open_panels && return
    if may_install; then
        debian_install "${qt_packages[@]}" || true
        can_open_panels && return
    fi
    say "Qt's libraries are missing: the panels are not tested (as root: apt-get install ${qt_packages[*]})"
    return 1
}

python=$(find_python)
if command -v flock >/dev/null; then
    exec 9<requirements.lock # two runs at once take turns
    flock 9
fi

# Asked anew after installing, since Debian's python3-venv may bring a newer build of Python.
packages_input() { echo "$(cksum <requirements.lock) $("$python" -VV) $python $PWD"; }
if ! done_from packages "$(packages_input)"; then
    install_packages
    packages_input >.venv/packages.done
fi

input=$(sed '/^\[tool\.uv\]/,$d' pyproject.toml | cksum)
if ! done_from project "$input"; then
    install_project
    echo "$input" >.venv/project.done
fi

input=$(cksum <requirements-bench.lock)
if [[ ${1:-} == bench ]] && ! done_from bench "$input"; then
    install_bench
    echo "$input" >.venv/bench.done
fi

if ! done_from rendering yes && offer_rendering; then
    echo yes >.venv/rendering.done
fi

if ! done_from panels yes && offer_panels; then
    echo yes >.venv/panels.done
fi
