#!/bin/sh
# Installs the packages of oidc_server.mjs, once.
#
#   tests/servers/node/install.sh [DIRECTORY]      default: target/nodeenv in the repository
#
# Fills DIRECTORY/node_modules as package-lock.json has it, unless what is there is of
# the same list. No script of a package is run. The last line of stdout is DIRECTORY.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../../target/nodeenv}

fail() {
    echo "the OpenID provider's packages could not be installed: $1" >&2
    exit 1
}

for command in node npm; do
    command -v "$command" >/dev/null ||
        fail "there is no $command (Debian: apt-get install nodejs npm)"
done
mkdir -p "$dir" || fail "the directory $dir cannot be made"
dir=$(cd "$dir" && pwd)
log=$dir.log
stamp=$dir/lock.stamp

# Tests run side by side: the first installs, the others wait for it.
exec 9>"$dir.lock"
if command -v flock >/dev/null; then flock 9; fi

wanted=$(cksum <"$here/package-lock.json")
if [ ! -d "$dir/node_modules" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    rm -f "$stamp"
    cp "$here/package.json" "$here/package-lock.json" "$dir/"
    npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --prefer-offline >"$log" 2>&1 ||
        fail "npm could not install package-lock.json; see $log"
    echo "$wanted" >"$stamp"
fi
echo "$dir"
