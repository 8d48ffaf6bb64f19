#!/bin/sh
# make-machine.sh OUT UNPACKED: builds the smallest disk that a whole machine boots from, BIOS or UEFI.
#
# UNPACKED holds Debian's kernel and static busybox as dpkg-deb -x leaves them. OUT receives machine.raw, 64 MiB, GPT:
#   1 GRUB for BIOS, 2 EFI system partition with GRUB as BOOTX64.EFI, 3 ext4 with kernel, initrd and busybox.
# Its init says on the serial line, one a line:
#   TINY-NOTE text        what /etc/note holds (written by an earlier run)
#   TINY-HOST name        from the provisioning disc (label cidata), when there is one
#   TINY-WROTE text       a line `note=text` of the disc's user data was written to /etc/note and flushed
#   TINY-DISK name bytes  each data disk
#   TINY-READY release sum=… firmware=bios|efi    and it stays up
# User data that begins with #! is run instead, as cloud-init does, after disks and network are there and before TINY-READY;
# what it prints goes to the serial line, and TINY-RAN code when it ends.
# Port 22 answers with TINY-SSH. The power button ends it; so does a line `then=poweroff` of the user data.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/parts.sh"

add_modules drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci drivers/block/virtio_blk \
    drivers/scsi/scsi_common drivers/scsi/scsi_mod drivers/scsi/virtio_scsi \
    lib/crc-t10dif crypto/crct10dif_common lib/crc64 lib/crc64-rocksoft block/t10-pi drivers/scsi/sd_mod \
    lib/crc16 crypto/crc32c_generic lib/libcrc32c fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4 \
    drivers/cdrom/cdrom fs/isofs/isofs net/core/failover drivers/net/net_failover drivers/net/virtio_net \
    net/packet/af_packet drivers/input/evdev drivers/acpi/button
cat > "$initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t sysfs sys /sys
for module in /modules/*.ko; do /bin/busybox insmod "$module"; done
tries=0
while ! /bin/busybox mount -t ext4 -o ro /dev/vda3 /mnt 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -gt 500 ] && echo TINY-FAILED > /dev/console && /bin/busybox poweroff -f
    /bin/busybox usleep 20000
done
/bin/busybox mount --move /dev /mnt/dev
exec /bin/busybox switch_root /mnt /sbin/init
INIT
chmod 755 "$initrd/init"

root=$work/root
mkdir -p "$root/bin" "$root/sbin" "$root/dev" "$root/proc" "$root/sys" "$root/etc/acpi/PWRF" "$root/boot" "$root/cd" "$root/tmp"
pack_initrd "$root/boot/initrd"
cp "$unpacked"/boot/vmlinuz-* "$root/boot/vmlinuz"
cp "$busybox" "$root/bin/busybox"
echo "tiny 1.0.0" > "$root/etc/release"
cat > "$root/sbin/init" <<'INIT'
#!/bin/busybox sh
# Busybox is called by its full name: there are no links.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t tmpfs tmp /tmp
say() { echo "$*" > /dev/console; }
[ -f /etc/note ] && say "TINY-NOTE $($b cat /etc/note)"
then=
for disc in /dev/vdb /dev/vdc /dev/sr0; do
    $b mount -t iso9660 -o ro $disc /cd 2>/dev/null || continue
    say "TINY-HOST $($b sed -n 's/^local-hostname: *//p' /cd/meta-data | $b tr -d '"')"
    note=$($b sed -n 's/^note=//p' /cd/user-data)
    then=$($b sed -n 's/^then=//p' /cd/user-data)
    if [ -n "$note" ]; then
        $b mount -o remount,rw /
        echo "$note" > /etc/note
        $b sync
        $b mount -o remount,ro /
        say "TINY-WROTE $note"
    fi
    [ "$($b head -c 2 /cd/user-data)" = '#!' ] && $b cp /cd/user-data /tmp/script
    $b umount /cd
done
for disk in /sys/block/sd*; do
    [ -e "$disk" ] && say "TINY-DISK ${disk##*/} $(($($b cat "$disk/size") * 512))"
done
$b ip link set lo up
$b ip link set eth0 up 2>/dev/null && $b udhcpc -q -n -i eth0 -s /etc/udhcpc -t 10 >/dev/null 2>&1
$b nc -ll -p 22 -e /etc/banner 2>/dev/null &
$b acpid -d -c /etc/acpi >/dev/null 2>&1 &
[ -f /tmp/script ] && { $b sh /tmp/script > /dev/console 2>&1; say "TINY-RAN $?"; }
firmware=bios
[ -d /sys/firmware/efi ] && firmware=efi
sum=$($b md5sum /bin/busybox | $b cut -c1-8)
say "TINY-READY $($b cat /etc/release) sum=$sum firmware=$firmware"
[ "$then" = poweroff ] && $b poweroff -f
while :; do $b sleep 3600; done
INIT
cat > "$root/etc/banner" <<'BANNER'
#!/bin/busybox sh
echo TINY-SSH
BANNER
cat > "$root/etc/udhcpc" <<'LEASE'
#!/bin/busybox sh
[ "$1" = bound ] && /bin/busybox ip address add "$ip/${mask:-24}" dev "$interface"
[ "$1" = bound ] && [ -n "$router" ] && /bin/busybox ip route add default via "$router"
exit 0
LEASE
cat > "$root/etc/acpi/PWRF/00000080" <<'BUTTON'
#!/bin/busybox sh
echo TINY-BUTTON > /dev/console
/bin/busybox sync
/bin/busybox poweroff -f
BUTTON
chmod 755 "$root/sbin/init" "$root/etc/banner" "$root/etc/udhcpc" "$root/etc/acpi/PWRF/00000080"
find "$root" -exec touch -h -d @1700000000 {} +

# GRUB without its timeout and menus: it loads what the ext4 holds.
uuid=6f1f6a52-7469-4e79-8d79-74696e790003
cat > "$work/early.cfg" <<GRUB
search.fs_uuid $uuid root
linux /boot/vmlinuz console=ttyS0,115200 net.ifnames=0 quiet panic=-1
initrd /boot/initrd
boot
GRUB
parts="part_gpt ext2 search_fs_uuid linux"
grub-mkimage -O i386-pc -c "$work/early.cfg" -p /boot/grub -o "$work/core.img" biosdisk $parts
grub-mkimage -O x86_64-efi -c "$work/early.cfg" -p /boot/grub -o "$work/BOOTX64.EFI" $parts

disk=$work/machine.raw
truncate -s 64M "$disk"
sfdisk -q "$disk" <<TABLE
label: gpt
label-id: 6F1F6A52-7469-4E79-8D79-74696E790004
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=6F1F6A52-7469-4E79-8D79-74696E790005, name=bios
start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=6F1F6A52-7469-4E79-8D79-74696E790006, name=esp
start=12288, size=114688, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=6F1F6A52-7469-4E79-8D79-74696E790007, name=root
TABLE
esp=$disk@@$((4096 * 512))
mformat -i "$esp" -T 8192 -h 1 -s 1 -N 74696e79 ::
mmd -i "$esp" ::/EFI ::/EFI/BOOT
mcopy -m -i "$esp" "$work/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
truncate -s $((114688 * 512)) "$work/root.raw"
E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -t ext4 -O ^metadata_csum_seed -d "$root" \
    -U $uuid -E hash_seed=6f1f6a52-7469-4e79-8d79-74696e790002,root_owner=0:0 "$work/root.raw"
dd if="$work/root.raw" of="$disk" bs=1M seek=6 conv=notrunc,sparse status=none
python3 "$here/embed_bios.py" "$disk" "$work/core.img"
cp --sparse=always "$disk" "$out/machine.raw"
