#!/bin/sh
# Fuzzes each target for a number of seconds, two at a time: run.sh [SECONDS [TARGET...]]. Inputs that bring something new are
# kept in `corpus/`, which is not under version control; an input that fails is left in `crashes/`. With FUZZ_SEED=NUMBER the inputs
# are the same each time.
set -eu
cd "$(dirname "$0")"
seconds=${1:-20}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- document target framing graphql rpc websocket glob exchange decode template store update
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --release --target "$host"
export FUZZ_SEED="${FUZZ_SEED:-0}"
export seconds out="${CARGO_TARGET_DIR:-target}/$host/release"
# xargs ends with 123 where one of them fails.
printf '%s\n' "$@" | xargs -P 2 -I '{}' sh -eu -c '
    mkdir -p "corpus/{}" crashes
    if ! "$out/{}" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=65536 -seed="$FUZZ_SEED" \
        -artifact_prefix=crashes/ "corpus/{}" "seeds/{}" 2>"crashes/{}.log"; then
        tail -n 40 "crashes/{}.log" >&2
        exit 1
    fi
    echo "{}: no failure in $seconds seconds"
'
