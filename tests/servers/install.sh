#!/bin/sh
# Installs the packages of the real authorization servers, once.
#
#   tests/servers/install.sh [DIRECTORY]      default: target/pyenv in the repository
#
# Makes a Python virtual environment in DIRECTORY with requirements.txt, unless the
# one there is of the same list. The last line of stdout is the path of its Python.
# PYTHON names another interpreter to start from (default: python3).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../target/pyenv}
python=${PYTHON:-python3}
requirements=$here/requirements.txt

fail() {
    echo "real-server packages could not be installed: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "there is no $python (Debian: apt-get install python3-venv)"
mkdir -p "$dir" || fail "the directory $dir cannot be made"
dir=$(cd "$dir" && pwd)
log=$dir.log
stamp=$dir/requirements.stamp

# Tests run side by side: the first installs, the others wait for it.
exec 9>"$dir.lock"
if command -v flock >/dev/null; then flock 9; fi

wanted=$(cksum <"$requirements")
if [ ! -x "$dir/bin/python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    rm -f "$stamp"
    "$python" -m venv --clear "$dir" >"$log" 2>&1 ||
        virtualenv --clear -p "$python" "$dir" >>"$log" 2>&1 ||
        fail "no virtual environment could be made (Debian: apt-get install python3-venv); see $log"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$requirements" >>"$log" 2>&1 ||
        fail "pip could not install requirements.txt; see $log"
    echo "$wanted" >"$stamp"
fi
echo "$dir/bin/python"
