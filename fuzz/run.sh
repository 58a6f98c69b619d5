#!/bin/sh
# Fuzzes each target for a number of seconds: run.sh [SECONDS [TARGET...]]. Inputs that bring something new are kept in
# `corpus/`, which is not under version control; an input that fails is left in `crashes/`.
set -eu
cd "$(dirname "$0")"
seconds=${1:-20}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- document target framing graphql rpc websocket glob exchange decode template store
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --release --target "$host"
out=${CARGO_TARGET_DIR:-target}/$host/release
for target in "$@"; do
    mkdir -p "corpus/$target" crashes
    if ! "$out/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=65536 \
        -artifact_prefix=crashes/ "corpus/$target" "seeds/$target" 2>"crashes/$target.log"; then
        tail -n 40 "crashes/$target.log" >&2
        exit 1
    fi
    echo "$target: no failure in $seconds seconds"
done
