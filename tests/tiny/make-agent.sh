#!/bin/sh
# make-agent.sh OUT UNPACKED TINY: the tiny machine with QEMU's guest agent in it.
#
# UNPACKED holds Debian's kernel, qemu-guest-agent and the libraries that it needs as dpkg-deb -x leaves them, TINY the
# machine.raw of make-machine.sh, of the same kernel. OUT receives machine.raw, which says on the serial line besides
#   TINY-AGENT    before TINY-READY: the agent runs on its port; its process id is in /tmp/agent.pid
# and has /bin/sh and the programs that scripts use.
set -eu

out=$(cd "$1" && pwd)
unpacked=$(cd "$2" && pwd)
tiny=$(cd "$3" && pwd)
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$root"

# The root file system is the third part, 6 MiB from the start, as make-machine.sh lays it out.
dd if="$tiny/machine.raw" of="$work/root.raw" bs=1M skip=6 count=56 status=none
debugfs -R "rdump / $root" "$work/root.raw" 2>"$work/said"
rm -rf "$root/lost+found"

libraries=$root/lib/x86_64-linux-gnu
mkdir -p "$root/lib64" "$libraries" "$root/usr/sbin"
cp "$unpacked/usr/sbin/qemu-ga" "$root/usr/sbin/qemu-ga"
loader=$(find "$unpacked" -name 'ld-linux-x86-64.so.2' -not -type d | head -n 1)
cp -L "$loader" "$root/lib64/ld-linux-x86-64.so.2"
for library in libc.so.6 libm.so.6 libglib-2.0.so.0 libgmodule-2.0.so.0 libpcre2-8.so.0 libudev.so.1 libnuma.so.1 \
    liburing.so.2; do
    cp -L "$(find "$unpacked" -name "$library" | head -n 1)" "$libraries/$library"
done
for name in sh cat chmod dd env head kill mktemp printf rm sed seq sleep tail tr wc yes; do
    ln -s busybox "$root/bin/$name"
done
find "$unpacked" -name virtio_console.ko -exec cp {} "$root/virtio_console.ko" \;

cat > "$work/agent" <<'INIT'
$b insmod /virtio_console.ko
for port in /sys/class/virtio-ports/*; do
    [ "$($b cat "$port/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] || continue
    /usr/sbin/qemu-ga -p "/dev/${port##*/}" -t /tmp -l /tmp/agent.log &
    echo $! > /tmp/agent.pid
    say TINY-AGENT
done
INIT
sed -i "/^firmware=bios/{
r $work/agent
N
}" "$root/sbin/init"
grep -q TINY-AGENT "$root/sbin/init"
find "$root" -exec touch -h -d @1700000000 {} +
cp --sparse=always "$tiny/machine.raw" "$work/machine.raw"
truncate -s 0 "$work/root.raw"
truncate -s 56M "$work/root.raw"
E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -t ext4 -O ^metadata_csum_seed -d "$root" \
    -U 6f1f6a52-7469-4e79-8d79-74696e790003 -E hash_seed=6f1f6a52-7469-4e79-8d79-74696e790002,root_owner=0:0 "$work/root.raw"
dd if="$work/root.raw" of="$work/machine.raw" bs=1M seek=6 conv=notrunc status=none
cp --sparse=always "$work/machine.raw" "$out/machine.raw"
