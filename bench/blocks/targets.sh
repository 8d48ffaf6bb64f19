#!/usr/bin/env bash
# targets.sh IMAGES [--slow] [--work DIR]: every target of the block store, held against its peers on this machine; prints one table.
# IMAGES: what make-images.sh made. --slow runs casync and borg too (half an hour). Needs root only to install what is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
images=${1:?directory of the images}; shift
declare -A package=([restic]=restic [borg]=borgbackup [casync]=casync [nbdkit]=nbdkit [fio]=fio [nbdcopy]=libnbd-bin [qemu-img]=qemu-utils)
missing=()
for tool in "${!package[@]}"; do command -v "$tool" >/dev/null || missing+=("${package[$tool]}"); done
/usr/bin/python3 -c 'import nbd' 2>/dev/null || missing+=(python3-libnbd)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi
(cd "$here" && cargo build --release --quiet)
exec /usr/bin/python3 "$here/targets.py" "$images" "$@"
