#!/bin/sh
# Makes the Python stubs of proto/mandate/v1 in examples/python/generated (git-ignored).
# PYTHON names the interpreter that has grpcio-tools.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
rm -rf "$here/generated"
mkdir -p "$here/generated"
"${PYTHON:-python3}" -m grpc_tools.protoc -I "$root/proto" \
    --python_out="$here/generated" --pyi_out="$here/generated" --grpc_python_out="$here/generated" \
    "$root"/proto/mandate/v1/*.proto
