#!/usr/bin/env bash
# bench/access.sh [SECONDS]: what authorization costs a request with 10,000 role assignments.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --release --quiet -p engine --example authorize_bench -- "${1:-5}"
