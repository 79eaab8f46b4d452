#!/bin/sh
# Installs the package of a command that the tests use, unless the command is there.
#
#   tests/servers/command.sh COMMAND PACKAGE
#
# The last line of stdout is the path of the command. The packages are Debian's that
# have the program alone and start no service.
set -eu

command=$1 package=$2
PATH=$PATH:/usr/sbin:/sbin

if ! command -v "$command" >/dev/null; then
    log=$(mktemp)
    # Tests run side by side: the first installs, the others wait for it.
    exec 9>"${TMPDIR:-/tmp}/refreshd-test-apt.lock"
    if command -v flock >/dev/null; then flock 9; fi
    if ! command -v "$command" >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$package" >"$log" 2>&1 ||
            { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$package"; } >"$log" 2>&1 || {
            tail -5 "$log" >&2
            echo "$package could not be installed; install it by hand and run this again" >&2
            exit 1
        }
    fi
    rm -f "$log"
fi
command -v "$command"
