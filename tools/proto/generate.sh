#!/bin/sh
# Writes the Go code of proto/ again. The plugins' versions are pinned in tools/proto/go.mod; protoc is the system's.
set -eu
cd "$(dirname "$0")/../.."
protoc="${PROTOC:-protoc}"
want="libprotoc 3.21.12"
if [ "$("$protoc" --version)" != "$want" ]; then
	echo "generate.sh: need $want, found $("$protoc" --version)" >&2
	exit 1
fi
bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT
go build -C tools/proto -o "$bin" google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
PATH="$bin:$PATH" "$protoc" --proto_path=proto \
	--go_out=proto --go_opt=paths=source_relative \
	--go-grpc_out=proto --go-grpc_opt=paths=source_relative \
	uplink/v1/uplink.proto
