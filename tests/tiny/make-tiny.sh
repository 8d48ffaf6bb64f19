#!/bin/sh
# make-tiny.sh OUT UNPACKED: builds the smallest bootable guest for tests.
#
# UNPACKED holds Debian's kernel and static busybox as dpkg-deb -x leaves them. OUT receives
#   tiny.vmlinux  the kernel as ELF (PVH: qemu -kernel starts it without decompression)
#   tiny.initrd   busybox, the virtio modules, an init that mounts /dev/vda and goes on there
#   tiny.raw      16 MiB of ext4 with an init that prints TINY-READY on the console and powers off
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/parts.sh"

python3 "$here/extract_vmlinux.py" "$unpacked"/boot/vmlinuz-* "$out/tiny.vmlinux"

add_modules drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci drivers/virtio/virtio_mmio \
    drivers/block/virtio_blk lib/crc16 crypto/crc32c_generic lib/libcrc32c fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4
cat > "$initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t sysfs sys /sys
for module in /modules/*.ko; do /bin/busybox insmod "$module"; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do /bin/busybox usleep 20000; tries=$((tries + 1)); done
/bin/busybox mount -o ro /dev/vda /mnt && exec /bin/busybox switch_root /mnt /sbin/init
echo TINY-FAILED > /dev/console
/bin/busybox poweroff -f
INIT
chmod 755 "$initrd/init"
pack_initrd "$out/tiny.initrd"

root=$work/root
mkdir -p "$root/bin" "$root/sbin" "$root/dev" "$root/proc" "$root/sys" "$root/etc"
cp "$busybox" "$root/bin/busybox"
echo "tiny 1.0.0" > "$root/etc/release"
cat > "$root/sbin/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
release=$(/bin/busybox cat /etc/release)
sum=$(/bin/busybox md5sum /bin/busybox | /bin/busybox cut -c1-8)
up=$(/bin/busybox cut -d' ' -f1 /proc/uptime)
echo "TINY-READY $release sum=$sum up=$up" > /dev/console
/bin/busybox poweroff -f
INIT
chmod 755 "$root/sbin/init"
find "$root" -exec touch -h -d @1700000000 {} +
truncate -s 16M "$work/tiny.raw"
E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -t ext4 -d "$root" \
    -U 6f1f6a52-7469-4e79-8d79-74696e790001 -E hash_seed=6f1f6a52-7469-4e79-8d79-74696e790002,root_owner=0:0 "$work/tiny.raw"
cp --sparse=always "$work/tiny.raw" "$out/tiny.raw"
