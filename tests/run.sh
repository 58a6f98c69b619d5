#!/bin/bash
# Runs every test. Installs what the tests need, or says what to install: curl, git, Python 3 with venv, Node.js and npm
# as Debian packages, requests, httpx, h11, httptools, grpcio and websockets from pip into a folder of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'tests: %s\n' "$*" >&2; }

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl)
command -v git >/dev/null || missing+=(git)
# Clients run inside the sandbox as an ordinary user, who sees only /usr.
[ -x /usr/bin/node ] || missing+=(nodejs)
[ -x /usr/bin/npm ] || missing+=(npm)
/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
[ -x /usr/bin/setpriv ] || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        say "missing: ${missing[*]}; install them, as with: sudo apt-get install ${missing[*]}"
        exit 1
    fi
fi

export TOLLGATE_TEST_PYTHON="/var/tmp/tollgate-test-python-$(id -u)"
if ! "$TOLLGATE_TEST_PYTHON/bin/python" -c 'import requests, httpx, h11, httptools, grpc, websockets' 2>/dev/null; then
    say "installing Python packages into $TOLLGATE_TEST_PYTHON"
    rm -rf "$TOLLGATE_TEST_PYTHON"
    /usr/bin/python3 -m venv "$TOLLGATE_TEST_PYTHON"
    "$TOLLGATE_TEST_PYTHON/bin/pip" install --quiet --disable-pip-version-check \
        requests httpx h11 httptools grpcio websockets
    chmod -R a+rX "$TOLLGATE_TEST_PYTHON"
fi

# The sandbox tests start the built program itself.
cargo build --workspace --bins --quiet
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-fail-fast "$@"
    cargo test --workspace --doc --quiet
else
    cargo test --workspace --no-fail-fast "$@"
fi
