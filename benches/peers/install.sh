#!/bin/bash
# Gets what Tollgate is compared with: `install.sh FOLDER NAME...`. What cannot be had is named; the rest is there all the same.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
folder="${1:?usage: install.sh FOLDER NAME...}"
shift
mkdir -p "$folder"

missing() { echo "$1 cannot be had: $2" >&2; }

# Packages of the system, without starting the services in them.
package() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] || { missing "$1" "the package $2 is not installed, and only root can do that"; return; }
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
        missing "$1" "the package $2 could not be installed"
}

for name in "$@"; do
    case "$name" in
    nginx) package nginx nginx-light ;;
    squid) package squid squid-openssl ;;
    mitmproxy)
        [ -x "$folder/mitmproxy/bin/mitmdump" ] && continue
        python3 -m venv "$folder/mitmproxy" && "$folder/mitmproxy/bin/pip" install --quiet "mitmproxy>=11" ||
            missing mitmproxy "it could not be installed with pip"
        ;;
    hudsucker)
        cargo build --release --quiet --locked --manifest-path "$here/hudsucker/Cargo.toml" --target-dir "$folder" ||
            missing hudsucker "it could not be built"
        ;;
    esac
done
