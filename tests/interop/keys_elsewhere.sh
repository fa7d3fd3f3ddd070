#!/usr/bin/env bash
# Keys that never leave: OpenSSL and a SoftHSM token sign what `mandate` makes, with all four algorithms.
#
# Usage:  keys_elsewhere.sh prepare MANDATE DIR WORK   before the gateway starts: the key set of controllers/leting is
#                                                     made anew by `mandate keyset`, its root in the token
#         keys_elsewhere.sh submit MANDATE DIR WORK    each key signs a preview, and the gateway admits it
#         keys_elsewhere.sh rotate MANDATE DIR WORK    the next version, signed by the root in the token, comes into
#                                                     force; then the token approves what the office signed, and the
#                                                     office takes back what it signed for the end of the contract
set -euo pipefail

action=$1 mandate=$2 dir=$3 work=$4
suite=$(cd "$(dirname "$0")" && pwd)
hsm=$suite/../../examples/hsm
keys=$dir/keys/leting
export SOFTHSM2_CONF=$work/softhsm2.conf PKCS11_TOKEN=mandate PKCS11_PIN=1234
for PKCS11_MODULE in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
    [ -e "$PKCS11_MODULE" ] && break
done
export PKCS11_MODULE
kinds=(ed p256 p384 rsa)
# The token's ids; 05 is the root.
declare -A id=([ed]=01 [p256]=02 [p384]=03 [rsa]=04 [root]=05)
declare -A kind=([ed]=EC:edwards25519 [p256]=EC:secp256r1 [p384]=EC:secp384r1 [rsa]=rsa:2048 [root]=EC:secp384r1)

token() { pkcs11-tool --module "$PKCS11_MODULE" --token-label "$PKCS11_TOKEN" --login --pin "$PKCS11_PIN" "$@"; }

make_openssl_keys() {
    openssl genpkey -quiet -algorithm ed25519 -out "$work/openssl-ed.pem"
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/openssl-p256.pem"
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$work/openssl-p384.pem"
    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/openssl-rsa.pem"
    for name in "${kinds[@]}"; do
        openssl pkey -in "$work/openssl-$name.pem" -pubout -out "$work/openssl-$name.pub"
    done
}

make_token_keys() {
    mkdir -p "$work/tokens"
    echo "directories.tokendir = $work/tokens" >"$SOFTHSM2_CONF"
    softhsm2-util --init-token --free --label "$PKCS11_TOKEN" --so-pin 5678 --pin "$PKCS11_PIN"
    for name in "${!id[@]}"; do
        token --keypairgen --key-type "${kind[$name]}" --id "${id[$name]}" --label "$name" --sensitive
        public_of "$name" >"$work/token-$name.pub"
    done
}

# The PEM of a token's public key. pkcs11-tool 0.23 cannot write P-384 itself, so the point is taken as listed.
public_of() {
    case $1 in
    p384 | root)
        local point
        # The list names all keys, each with its point before its id.
        point=$(token --list-objects --type pubkey |
            awk -v id="${id[$1]}" '/EC_POINT: / { point = $2 } /ID: / && $2 == id { print substr(point, 5) }')
        # SubjectPublicKeyInfo of P-384 up to the point (RFC 5480).
        python3 -c 'import base64, sys; sys.stdout.write("-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(
            bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200" + sys.argv[1])).decode() + "-----END PUBLIC KEY-----\n")' "$point"
        ;;
    *)
        token --read-object --type pubkey --id "${id[$1]}" -o "$work/object" >&2
        if grep -q BEGIN "$work/object"; then cat "$work/object"; else openssl pkey -pubin -inform DER -in "$work/object"; fi
        rm "$work/object"
        ;;
    esac
}

# The public part of a private JWK.
public_jwk() {
    python3 -c 'import json, sys; key = json.load(open(sys.argv[1]))
print(json.dumps({name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}))' "$1"
}

prepare() {
    mkdir -p "$work"
    make_openssl_keys
    make_token_keys
    public_jwk "$keys/instruction.jwk" >"$work/office.pub"
    local signers=office holders=(--key "office=$work/office.pub")
    for name in "${kinds[@]}"; do
        holders+=(--key "openssl-$name=$work/openssl-$name.pub" --key "token-$name=$work/token-$name.pub")
        signers+=",openssl-$name,token-$name"
    done
    "$mandate" keyset new --iss controllers/leting --aud "$(sed -n '/^\[trail\]/,/^\[/s/^origin = "\(.*\)"/\1/p' "$dir/pins.toml")" \
        --root "board=$work/token-root.pub" "${holders[@]}" \
        --role "preview=1:$signers" --role "erase=1:$signers" --role "export=1:$signers" --role "revoke=1:$signers" \
        --role "return_and_erase=1:$signers" --out "$work/1.unsigned"
    "$mandate" keyset sign "$work/1.unsigned" --public-key "$work/token-root.pub" \
        --external "$hsm/pkcs11.sh ${id[root]}" --out "$work/1.json"
    "$mandate" keyset show "$work/1.json" | tee "$work/shown"
    grep -q 'good as a first version' "$work/shown"
    local old new
    old=$(sed -n '/^\[controllers.leting\]/,/^\[/s/^key_set_digest = "\(.*\)"/\1/p' "$dir/pins.toml")
    new=$(sed -n 's/^thumbprint  //p' "$work/shown")
    sed -i "s/$old/$new/" "$dir"/*.toml
    cp "$work/1.json" "$keys/keyset.json"
    grep -qF -- "$new" "$dir/registry.toml"
}

order=(--profile "$dir/profiles/leting.toml" --act preview --app apps/leting-fm --basis pipl-45)

submit() {
    local signed=()
    for name in "${kinds[@]}"; do
        "$mandate" sign "${order[@]}" --user "one-$name" --public-key "$work/openssl-$name.pub" \
            --external "$hsm/openssl.sh $work/openssl-$name.pem" --out "$work/openssl-$name.sd-jwt"
        "$mandate" sign "${order[@]}" --user "two-$name" --public-key "$work/token-$name.pub" \
            --external "$hsm/pkcs11.sh ${id[$name]}" --out "$work/token-$name.sd-jwt"
        signed+=("$work/openssl-$name.sd-jwt" "$work/token-$name.sd-jwt")
    done
    # In two steps, as with a machine that has no network; then a second signer adds to it.
    "$mandate" sign "${order[@]}" --user two-steps --public-key "$work/openssl-p256.pub" \
        --signing-input-out "$work/to-sign" --out "$work/two-steps.unsigned"
    MANDATE_ALG=ES256 "$hsm/openssl.sh" "$work/openssl-p256.pem" <"$work/to-sign" >"$work/signature"
    "$mandate" sign --onto "$work/two-steps.unsigned" --public-key "$work/openssl-p256.pub" \
        --signature "$work/signature" --out "$work/two-steps.sd-jwt"
    "$mandate" sign --onto "$work/two-steps.sd-jwt" --public-key "$work/token-rsa.pub" \
        --external "$hsm/pkcs11.sh ${id[rsa]}" --out "$work/two-signers.json"
    grep -q '"signatures":\[{' "$work/two-signers.json"
    # What the second signer was shown: by the very bytes that he signed.
    "$mandate" sign --show "$work/two-signers.json" | tee "$work/shown-order"
    grep -q '^user        "two-steps"$' "$work/shown-order"
    # An order whose disclosure was swapped is signed by nobody.
    python3 - "$work/two-steps.sd-jwt" "$work/swapped.sd-jwt" <<'SWAP'
import base64, sys
jws, disclosure, end = open(sys.argv[1]).read().split("~")
named = base64.urlsafe_b64decode(disclosure + "==").decode().replace("two-steps", "harmless")
open(sys.argv[2], "w").write("~".join([jws, base64.urlsafe_b64encode(named.encode()).decode().rstrip("="), end]))
SWAP
    if "$mandate" sign --onto "$work/swapped.sd-jwt" --public-key "$work/token-rsa.pub" \
        --external "$hsm/pkcs11.sh ${id[rsa]}" --out "$work/wrong" 2>"$work/refused"; then exit 1; fi
    grep DISCLOSURE_ALIEN "$work/refused"
    # What the key set's holder did not sign is not taken back.
    if "$mandate" sign "${order[@]}" --user wrong --public-key "$work/openssl-p256.pub" \
        --external "$hsm/openssl.sh $work/openssl-p384.pem" --out "$work/wrong" 2>"$work/refused"; then exit 1; fi
    grep SIGNATURE_INVALID "$work/refused"
    for file in "${signed[@]}" "$work/two-signers.json"; do
        "$mandate" instruct --profile "$dir/profiles/leting.toml" "$file"
    done
}

rotate() {
    "$mandate" keyset rotate "$work/1.json" --remove openssl-ed --days 90 --role preview=2:office,token-p256 \
        --out "$work/2.unsigned"
    "$mandate" keyset diff "$work/1.json" "$work/2.unsigned" | tee "$work/told"
    grep -q 'which follows it' "$work/told"
    grep -q -- '- instruction key of openssl-ed' "$work/told"
    "$mandate" keyset sign "$work/2.unsigned" --previous "$work/1.json" --public-key "$work/token-root.pub" \
        --external "$hsm/pkcs11.sh ${id[root]}" --out "$work/2.json"
    "$mandate" keyset show "$work/2.json" --previous "$work/1.json" | tee "$work/shown-2"
    grep -q 'good: both root thresholds are met' "$work/shown-2"
    "$mandate" authority --profile "$dir/profiles/leting.toml" rotate "$work/2.json"
    # Now a preview takes two: the office signs, and the token approves what waits.
    "$mandate" sign "${order[@]}" --key-set "$work/2.json" --user by-two --key "$keys/instruction.jwk" --out "$work/waits.sd-jwt"
    "$mandate" instruct --profile "$dir/profiles/leting.toml" "$work/waits.sd-jwt" | tee "$work/waiting"
    grep -q 'state  waiting' "$work/waiting"
    "$mandate" authority --profile "$dir/profiles/leting.toml" approve "$work/waits.sd-jwt" \
        --public-key "$work/token-p256.pub" --external "$hsm/pkcs11.sh ${id[p256]}" | tee "$work/approved"
    grep -q 'state  admitted' "$work/approved"
    # Another, approved in two steps, the first of which needs no connection.
    "$mandate" sign "${order[@]}" --key-set "$work/2.json" --user by-two-steps --key "$keys/instruction.jwk" --out "$work/waits-2.sd-jwt"
    "$mandate" instruct --profile "$dir/profiles/leting.toml" "$work/waits-2.sd-jwt"
    "$mandate" authority approve "$work/waits-2.sd-jwt" --public-key "$work/token-p256.pub" --signing-input-out "$work/to-approve"
    MANDATE_ALG=ES256 "$hsm/pkcs11.sh" "${id[p256]}" <"$work/to-approve" >"$work/approval"
    "$mandate" authority --profile "$dir/profiles/leting.toml" approve "$work/waits-2.sd-jwt" \
        --public-key "$work/token-p256.pub" --signature "$work/approval" | tee "$work/approved-2"
    grep -q 'state  admitted' "$work/approved-2"
    # The third version, which only the whole chain shows to be good.
    "$mandate" keyset rotate "$work/2.json" --days 60 --out "$work/3.unsigned"
    "$mandate" keyset sign "$work/3.unsigned" --previous "$work/1.json" --previous "$work/2.json" \
        --public-key "$work/token-root.pub" --external "$hsm/pkcs11.sh ${id[root]}" --out "$work/3.json"
    "$mandate" keyset show "$work/3.json" --previous "$work/2.json" | tee "$work/shown-3"
    grep -q 'NOT JUDGED: whether version 2 itself is good' "$work/shown-3"
    "$mandate" keyset show "$work/3.json" --previous "$work/2.json" --previous "$work/1.json" | tee "$work/shown-3"
    grep -q 'good: both root thresholds are met' "$work/shown-3"
    "$mandate" authority --profile "$dir/profiles/leting.toml" rotate "$work/3.json"
    # What is signed for the end of the contract is held, and taken back before that.
    local office=(--profile "$dir/profiles/leting.toml" --key-set "$work/3.json" --key "$keys/instruction.jwk" --app apps/leting-fm)
    "$mandate" sign "${office[@]}" --act return_and_erase --basis contract-end --erase-only \
        --not-before "$(date -u -d '+1 year' +%FT%TZ)" --out "$work/ending.sd-jwt"
    "$mandate" instruct --profile "$dir/profiles/leting.toml" "$work/ending.sd-jwt" | tee "$work/held"
    grep -q 'state  held' "$work/held"
    if "$mandate" sign "${office[@]}" --act revoke --basis pipl-15 --out "$work/wrong" 2>"$work/refused"; then exit 1; fi
    grep MEMBER_MISSING "$work/refused"
    "$mandate" sign "${office[@]}" --act revoke --basis pipl-15 --target "$(sed -n 's/^name  //p' "$work/held")" --out "$work/revoke.sd-jwt"
    "$mandate" instruct --profile "$dir/profiles/leting.toml" "$work/revoke.sd-jwt" | tee "$work/revoked"
    grep -q 'state  done' "$work/revoked"
}

"$action"
