#!/usr/bin/env bash
# bench/http.sh [SECONDS]: start to ready, idle memory, and GET of one version over TLS with keep-alive.
# Server and load generator (wrk) share the machine's cores. Needs: curl, jq, wrk (Debian packages), a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
for tool in curl jq wrk; do
  command -v "$tool" >/dev/null || { echo "install $tool (Debian package of the same name)" >&2; exit 2; }
done
cargo build --release --quiet -p vitrine
vitrine=target/release/vitrine
work=$(mktemp -d)
server=
finish() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }; rm -rf "$work"; }
trap finish EXIT
export VITRINE_DATA=$work/data

start() { # prints milliseconds from exec to the first answer of /readyz
  local from; from=$(date +%s%N)
  "$vitrine" serve --listen 127.0.0.1:0 >"$work/out" 2>"$work/err" &
  server=$!
  until endpoint=$(sed -n 's/^listening on //p' "$work/out") && [ -n "$endpoint" ]; do :; done
  until curl -fs --cacert "$VITRINE_DATA/ca.pem" "$endpoint/readyz" >/dev/null; do :; done
  ready_ms=$(( ($(date +%s%N) - from) / 1000000 ))
}
start; echo "first start to ready: $ready_ms ms"
kill "$server"; wait "$server" || true
start; echo "second start to ready: $ready_ms ms"
echo "idle: resident $(awk '/VmRSS/{print $2" "$3}' /proc/$server/status)"

head -c 8M /dev/urandom > "$work/disk.raw"; truncate -s 64M "$work/disk.raw"
"$vitrine" publish "$work/disk.raw" --to bench/disk/1.0.0 >/dev/null 2>&1
field() { jq -r ".$1" "$VITRINE_DATA/credentials.json"; }
token=$(curl -fs --cacert "$VITRINE_DATA/ca.pem" "$endpoint/$(field tenantId)/oauth2/v2.0/token" \
  -d grant_type=client_credentials -d client_id="$(field clientId)" --data-urlencode client_secret="$(field clientSecret)" \
  --data-urlencode scope="$endpoint/.default" | jq -r .access_token)
url="$endpoint/subscriptions/$(field subscriptionId)/resourceGroups/vitrine/providers/Microsoft.Compute/galleries/bench/images/disk/versions/1.0.0?api-version=2026-03-03"
curl -fs --cacert "$VITRINE_DATA/ca.pem" -H "Authorization: Bearer $token" "$url" >/dev/null
echo "resident after a publish: $(awk '/VmRSS/{print $2" "$3}' /proc/$server/status), at most $(awk '/VmHWM/{print $2" "$3}' /proc/$server/status)"
wrk -t2 -c32 -d"${seconds}s" --latency -H "Authorization: Bearer $token" "$url"
