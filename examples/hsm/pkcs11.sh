#!/bin/sh
# Signs stdin with a private key that never leaves its PKCS#11 token, by OpenSC's pkcs11-tool.
#
#   PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so PKCS11_TOKEN=mandate PKCS11_PIN=… \
#   mandate sign … --public-key key.pub.pem --external "examples/hsm/pkcs11.sh 01"
#
# The argument is the key's CKA_ID in hex. MANDATE_ALG says how. Tokens that hash by themselves may use ECDSA-SHA256;
# every token knows ECDSA over a hash made outside. ECDSA comes out as r || s.
# Without PKCS11_PIN the tool asks for it on the terminal.
# pkcs11-tool 0.23 signs at most 1024 bytes with Ed25519; a longer message needs the token's own library.
set -eu
id=$1
sign() {
    pkcs11-tool --module "$PKCS11_MODULE" --token-label "$PKCS11_TOKEN" --login ${PKCS11_PIN:+--pin "$PKCS11_PIN"} \
        --id "$id" --sign "$@"
}
case $MANDATE_ALG in
ES256) openssl dgst -sha256 -binary | sign --mechanism ECDSA ;;
ES384) openssl dgst -sha384 -binary | sign --mechanism ECDSA ;;
PS256) sign --mechanism SHA256-RSA-PKCS-PSS --mgf MGF1-SHA256 --salt-len 32 ;;
EdDSA) sign --mechanism EDDSA ;;
*) echo "unknown MANDATE_ALG" >&2 && exit 2 ;;
esac
