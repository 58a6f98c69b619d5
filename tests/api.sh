#!/bin/bash
# Tries the operator API of a sandbox with requests that a schema-driven tester draws from the API's own description: nothing it
# sends may be a server error, and every answer has to be as described. Needs a built `tollgate`; installs the tester.
set -euo pipefail
cd "$(dirname "$0")/.."

tester="/var/tmp/tollgate-api-tester-$(id -u)"
if ! "$tester/bin/schemathesis" --version >/dev/null 2>&1; then
    rm -rf "$tester"
    /usr/bin/python3 -m venv "$tester"
    "$tester/bin/pip" install --quiet --disable-pip-version-check 'schemathesis>=4.20,<5'
fi

folder=$(mktemp -d /var/tmp/tollgate-api.XXXXXX)
export TOLLGATE_HOME="$folder/home" PATH="$PWD/${CARGO_TARGET_DIR:-target}/debug:$PATH"
mkdir "$folder/home" "$folder/work"
chmod 755 "$folder"
chmod 700 "$folder/home"
chmod 777 "$folder/work"
cat > "$folder/policy.yaml" <<'POLICY'
version: 1
network_policies:
  api:
    endpoints: [{ host: api.example.com, port: 443, protocol: rest, access: read-only }]
POLICY
port=$("$tester/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd "$folder/work" && tollgate sandbox create --name api --policy "$folder/policy.yaml" --api "127.0.0.1:$port" -- sleep infinity)
finish() {
    tollgate sandbox delete api >/dev/null
    rm -rf "$folder"
}
trap finish EXIT

# Not asked: what ends the sandbox, and a stream that ends with it. Drawn anew each time, unless a seed is given.
"$tester/bin/schemathesis" run "http://127.0.0.1:$port/v1/openapi.json" --url "http://127.0.0.1:$port" \
    --header "Authorization: Bearer $(cat "$TOLLGATE_HOME/sandboxes/api/api.token")" \
    --exclude-path /v1/stop --exclude-path /v1/events --max-examples "${1:-25}" ${API_SEED:+--seed "$API_SEED"} \
    --request-timeout 20 --continue-on-failure --no-color --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection,unsupported_method

# It has survived that, and says so.
tollgate status api -o json | grep -q '"generation"'
