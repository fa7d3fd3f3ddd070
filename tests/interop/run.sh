#!/usr/bin/env bash
# Clients and libraries that are not ours, against a real gateway and agent on loopback.
#
# Usage:  tests/interop/run.sh           builds the two binaries first
#         MANDATE_BIN_DIR=DIR run.sh     takes `mandate` and `mandate-verify` from DIR
#
# Installs what it needs into target/interop. A part that could not run is a failure. The last line is
# `N passed, M failed`; exits 0 only with M = 0. Logs stay in target/interop/logs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
work=$root/target/interop
logs=$work/logs
client=$root/examples/python
suite=$root/tests/interop
venv=$work/venv
limit=${INTEROP_LIMIT:-240}   # Seconds for one part.
passed=0
failed=0
pids=()
rm -rf "$logs"
mkdir -p "$logs"
dir=$(mktemp -d "${TMPDIR:-/tmp}/mandate-interop.XXXXXX")/demo

stop_all() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$(dirname "$dir")"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

finish() {
    if [ "$failed" -gt 0 ]; then
        for name in gateway agent; do
            [ -s "$logs/$name.log" ] || continue
            echo "the end of $logs/$name.log:"
            tail -n 15 "$logs/$name.log" | sed 's/^/      /'
        done
    fi
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

# part NAME COMMAND...: one thing that must hold.
part() {
    local name=$1
    shift
    if timeout --kill-after=10 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        echo "ok    $name"
    else
        local status=$?
        failed=$((failed + 1))
        echo "FAIL  $name (status $status); the end of $logs/$name.log:"
        tail -n 25 "$logs/$name.log" | sed 's/^/      /'
        return 1
    fi
}

# must NAME COMMAND...: one thing without which nothing after it can run.
must() { part "$@" || finish; }
# may NAME COMMAND...: the rest still runs where it fails.
may() { part "$@" || true; }

# says NAME TEXT: the log of a part holds a line with the text.
says() { may "$1-says" grep -qF -- "$2" "$logs/$1.log"; }

start() {
    local name=$1
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null &
    pids+=($!)
}

# -- what it needs ---------------------------------------------------------------------------------

for tool in python3 node npm openssl; do
    command -v "$tool" >/dev/null || { echo "interop needs $tool"; failed=1; finish; }
done
# A PKCS#11 token in software and a tool that speaks to it.
if ! command -v softhsm2-util >/dev/null || ! command -v pkcs11-tool >/dev/null; then
    must install-softhsm bash -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq softhsm2 opensc'
fi
if [ -z "${MANDATE_BIN_DIR:-}" ]; then
    MANDATE_BIN_DIR=${CARGO_TARGET_DIR:-$root/target}/debug
    limit=3600 must build cargo build --bins
fi
mandate=$MANDATE_BIN_DIR/mandate
verify=$MANDATE_BIN_DIR/mandate-verify

[ -x "$venv/bin/python" ] || must venv python3 -m venv "$venv"
must install-python "$venv/bin/pip" install --disable-pip-version-check --quiet \
    -r "$client/requirements.txt" -r "$suite/requirements.txt"
mkdir -p "$work/node"
cp "$root"/examples/node/package.json "$root"/examples/node/*.mjs "$suite"/node/*.mjs "$work/node/"
export MANDATE_PROTO=$root/proto
must install-node npm install --prefix "$work/node" --no-audit --no-fund --loglevel=error

python=$venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Everything is on loopback: no proxy may stand between.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY grpc_proxy all_proxy ALL_PROXY

# -- without a gateway -----------------------------------------------------------------------------

may buf-lint "$venv/bin/buf" lint proto
must python-stubs env PYTHON="$python" sh "$client/generate.sh"
may python-client-alone "$python" "$suite/client_test.py"

# Two independent judges of the published vectors, and two clients judged by ours.
vectors=$root/tests/vectors
inputs=$(dirname "$dir")/inputs
may vectors-are-what-is-made "$python" "$vectors/make" --check
may vectors-by-mandate "$mandate" conformance vectors "$vectors"
may vectors-by-sd-jwt "$python" "$suite/vectors_check.py"
may vectors-by-node node "$work/node/vectors.mjs" "$vectors"
may inputs-by-sd-jwt "$python" "$suite/vectors_check.py" sign "$inputs/python"
may inputs-by-sd-jwt-conform "$mandate" conformance client "$inputs/python"
may inputs-by-node node "$work/node/vectors.mjs" "$vectors" sign "$inputs/node"
may inputs-by-node-conform "$mandate" conformance client "$inputs/node"
may page-bytes "$python" "$suite/pages.py" bytes "$mandate" "$inputs/page"

# -- the gateway and the agent ---------------------------------------------------------------------

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
must init "$mandate" init "$dir" --port "$port"
profiles=$dir/profiles
# Before anything runs: a controller whose key set asks for two signers, made by jwcrypto.
must two-signers-key-set "$python" "$suite/two_signers.py" prepare "$dir"
# And one whose root and half of whose keys lie in a token, the others with OpenSSL.
elsewhere=$(dirname "$dir")/elsewhere
must keys-elsewhere "$suite/keys_elsewhere.sh" prepare "$mandate" "$dir" "$elsewhere"
start gateway "$mandate" serve --config "$dir/gateway.toml"
must gateway-ready "$python" "$suite/grpc_check.py" wait "$profiles/operator.toml" 60
must registry "$mandate" registry apply --profile "$profiles/operator.toml" "$dir/registry.toml"
must registry-again "$mandate" registry apply --profile "$profiles/operator.toml" "$dir/registry.toml"
start agent "$mandate" agent --config "$dir/agent.toml"

# -- clients that are not ours ---------------------------------------------------------------------

may health "$python" "$suite/grpc_check.py" health "$profiles/xingyu.toml"
may reflection "$python" "$suite/grpc_check.py" reflection "$profiles/xingyu.toml"

may mail "$mandate" intake submit --profile "$profiles/support.toml" \
    examples/mail/01-delete-enterprise-app.eml
out=$dir/walk
may walk "$python" "$client/walk.py" --profile "$profiles/xingyu.toml" --subject u_8839201 \
    --dir "$out" --wait 30
says walk 'was waiting, forwarded by PPIO'
may walk-opens-its-own "$python" "$client/walk.py" --profile "$profiles/leting.toml" \
    --subject letingfm-660318 --dir "$dir/walk-own" --wait 2
says walk-opens-its-own 'none was waiting'
may evidence-of-the-walk "$verify" evidence "$out/erase.evidence.json" --pin "$dir/pins.toml"

key_set=$dir/keys/xingyu/keyset.json
may mandate-sign "$mandate" sign --profile "$profiles/xingyu.toml" --act erase \
    --app apps/xingyu-live --user u_8839201 --category device --category network \
    --basis pipl-47 --out "$dir/signed.sd-jwt"
may sd-jwt-reads-mandate-sign "$python" "$suite/sd_jwt_check.py" --key-set "$key_set" \
    --app apps/xingyu-live --user u_8839201 "$dir/signed.sd-jwt"

two=$dir/keys/yunting
may mandate-sign-by-two "$mandate" sign --profile "$profiles/yunting.toml" --act preview \
    --app apps/yunting-class --user YT-900127 --category device --basis pipl-45 \
    --key "$two/instruction.jwk" --key "$two/second.jwk" --out "$dir/signed-by-two.json"
may jwcrypto-reads-mandate-sign-by-two "$python" "$suite/sd_jwt_check.py" \
    --key-set "$two/keyset.json" --app apps/yunting-class --user YT-900127 --signers 2 \
    "$dir/signed-by-two.json"
may two-signers "$python" "$suite/two_signers.py" submit "$dir" "$dir/signed-by-two.json"

# One list of tampered instructions: what the gateway refuses, the libraries refuse, whoever made the instruction.
may mandate-sign-a-preview "$mandate" sign --profile "$profiles/leting.toml" --act preview --app apps/leting-fm \
    --user letingfm-660318 --category device --basis pipl-45 --out "$dir/preview.sd-jwt"
may tampered-by-sd-jwt "$python" "$suite/tampered.py" alone "$profiles/leting.toml" letingfm-660318 "$dir/preview.sd-jwt"
may mandate-sign-another "$mandate" sign --profile "$profiles/xiaolu.toml" --act preview --app apps/xiaolu-class \
    --user DX-204417 --category device --basis pipl-45 --out "$dir/another.sd-jwt"
may tampered-by-node node "$work/node/tampered.mjs" "$suite/tampered.json" "$profiles/xiaolu.toml" DX-204417 "$dir/another.sd-jwt"
may mandate-sign-by-two-more "$mandate" sign --profile "$profiles/yunting.toml" --act preview \
    --app apps/yunting-class --user YT-900127 --category device --basis pipl-45 \
    --key "$two/instruction.jwk" --key "$two/second.jwk" --out "$dir/by-two-more.json"
may tampered-by-jwcrypto "$python" "$suite/tampered.py" together "$dir" YT-900127 "$dir/by-two-more.json"

# grpcurl as an operator's hand would use it; the token comes from the Python client.
grpcurl=("$venv/bin/grpcurl" -max-time 20 -cacert "$dir/ca/server.pem"
    -cert "$dir/keys/xingyu/tls.pem" -key "$dir/keys/xingyu/tls.key" -authority mandate.ppio.example)
token=$("$python" "$suite/grpc_check.py" token "$profiles/xingyu.toml")
may grpcurl-list "${grpcurl[@]}" -H "authorization: $token" "127.0.0.1:$port" list
says grpcurl-list mandate.v1.InstructionService
may grpcurl-calls "${grpcurl[@]}" -H "authorization: $token" "127.0.0.1:$port" \
    mandate.v1.InstructionService/GetKeySet
says grpcurl-calls '"version": "1"'

may keys-elsewhere-sign "$suite/keys_elsewhere.sh" submit "$mandate" "$dir" "$elsewhere"
may keys-elsewhere-rotate "$suite/keys_elsewhere.sh" rotate "$mandate" "$dir" "$elsewhere"

may node-walk node "$work/node/walk.mjs" --profile "$profiles/xiaolu.toml" --subject DX-204417 \
    --dir "$dir/walk-node" --wait 2
says node-walk 'everything held'
may evidence-of-the-node-walk "$verify" evidence "$dir/walk-node/erase.evidence.json" --pin "$dir/pins.toml"
may page-python "$python" "$suite/pages.py" python "$profiles/xingyu.toml" u_8839201
may page-node "$python" "$suite/pages.py" node "$profiles/xingyu.toml" u_8839201 "$work/node"
may node-sd-jwt-reads-mandate-sign node "$work/node/sd_jwt.mjs" read "$key_set" u_8839201 \
    "$dir/signed.sd-jwt"
may node-sd-jwt-reads-mandate-sign-by-two node "$work/node/sd_jwt.mjs" read-general \
    "$two/keyset.json" YT-900127 "$dir/signed-by-two.json"

# More leaves than a tile holds, so that the log has a second level: every look at one's cases is a leaf.
may more-leaves "$python" "$suite/more_leaves.py" "$profiles/leting.toml" 260

export_dir=$dir/export
may trail-export "$mandate" trail export --profile "$profiles/auditor.toml" "$export_dir"
may pymerkle-trail "$python" "$suite/pymerkle_check.py" "$export_dir/trail" \
    "$out/preview.tlog-proof" "$out/preview.leaf.json" \
    "$out/export.tlog-proof" "$out/export.leaf.json" \
    "$out/erase.tlog-proof" "$out/erase.leaf.json" \
    --consistency "$out/consistency.json" --spoil 1
may pymerkle-authority "$python" "$suite/pymerkle_check.py" "$export_dir/authority" --spoil 0

# A log in Python asks our witness.
may witness "$python" "$suite/witness_check.py" "$mandate" "$dir" "$dir/witness"

# Both must have lived to the end.
for index in "${!pids[@]}"; do
    names=(gateway agent)
    may "${names[$index]}-still-runs" bash -c "kill -0 ${pids[$index]}"
done
finish
