#!/bin/sh
# Signs stdin with a private key in a PEM file, by OpenSSL 3: the signature goes to stdout.
#
#   mandate sign … --public-key key.pub.pem --external "examples/hsm/openssl.sh key.pem"
#
# MANDATE_ALG says how. ECDSA comes out as DER, which `mandate` turns into r || s.
set -eu
key=$1
case $MANDATE_ALG in
ES256) exec openssl dgst -sha256 -sign "$key" ;;
ES384) exec openssl dgst -sha384 -sign "$key" ;;
PS256) exec openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign "$key" ;;
EdDSA)
    # Ed25519 takes the message in one piece, so OpenSSL wants a file.
    message=$(mktemp)
    trap 'rm -f "$message"' EXIT
    cat >"$message"
    openssl pkeyutl -sign -rawin -inkey "$key" -in "$message"
    ;;
*) echo "unknown MANDATE_ALG" >&2 && exit 2 ;;
esac
