#!/bin/sh
# make-disk.sh OUT UNPACKED: builds the smallest disk that boots by itself, by BIOS and by UEFI.
#
# UNPACKED holds Debian's kernel, static busybox and GRUB as dpkg-deb -x leaves them. OUT receives
#   tiny.disk     GRUB in front, a FAT partition with kernel and initrd, an ext4 partition whose init
#                 says TINY-READY on the console, what it finds, and stays until its button is pressed
# What the guest says, one line each:
#   TINY-READY <release> up=<seconds>    it is up
#   TINY-FOUND <lines>                   what earlier boots have written (lines of /var/written)
#   TINY-WROTE <line>                    what this one has written, synced
#   TINY-HOST <name>                     local-hostname on a disc labelled cidata
#   TINY-DISK <lun> <sectors>            a data disk that has appeared; TINY-GONE <lun>: that has gone
set -eu

out=$(cd "$1" && pwd)
unpacked=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

busybox=$unpacked/bin/busybox
[ -x "$busybox" ] || busybox=$unpacked/usr/bin/busybox
modules=$(echo "$unpacked"/lib/modules/*)
[ -d "$modules" ] || modules=$(echo "$unpacked"/usr/lib/modules/*)
grub=$unpacked/usr/lib/grub
mkimage=$unpacked/usr/bin/grub-mkimage

initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/mnt" "$initrd/modules"
cp "$busybox" "$initrd/bin/busybox"
number=10
# In the order in which one needs the other.
for module in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci drivers/block/virtio_blk \
    lib/crc16 crypto/crc32c_generic lib/libcrc32c fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4 \
    drivers/scsi/scsi_common drivers/scsi/scsi_mod drivers/scsi/virtio_scsi drivers/scsi/sd_mod \
    fs/nls/nls_utf8 drivers/cdrom/cdrom fs/isofs/isofs drivers/input/evdev drivers/acpi/button; do
    # What is not there as a module is part of the kernel.
    [ -f "$modules/kernel/$module.ko" ] || continue
    cp "$modules/kernel/$module.ko" "$initrd/modules/$number-$(basename "$module").ko"
    number=$((number + 1))
done
cat > "$initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t sysfs sys /sys
for module in /modules/*.ko; do /bin/busybox insmod "$module"; done
tries=0
while [ ! -b /dev/vda2 ] && [ $tries -lt 200 ]; do /bin/busybox usleep 20000; tries=$((tries + 1)); done
/bin/busybox mount /dev/vda2 /mnt && exec /bin/busybox switch_root /mnt /sbin/init
echo TINY-FAILED > /dev/console
/bin/busybox poweroff -f
INIT
chmod 755 "$initrd/init"
(cd "$initrd" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0 | gzip -n -1) > "$work/initrd.gz"

root=$work/root
for dir in bin sbin dev proc sys etc/acpi/PWRF mnt var; do mkdir -p "$root/$dir"; done
cp "$busybox" "$root/bin/busybox"
echo "tiny 1.0.0" > "$root/etc/release"
: > "$root/var/written"
cat > "$root/sbin/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
exec > /dev/console 2>&1
echo "TINY-READY $(cat /etc/release) up=$(cut -d' ' -f1 /proc/uptime)"
echo "TINY-FOUND $(cat /var/written | tr '\n' ' ')"
line=$(cat /proc/sys/kernel/random/boot_id)
echo "$line" >> /var/written
sync
echo "TINY-WROTE $line"
for disk in /dev/vdb /dev/vdc; do
    if [ -b $disk ] && mount -t iso9660 -o ro $disk /mnt; then
        echo "TINY-HOST $(sed -n 's/.*"local-hostname": "\(.*\)".*/\1/p' /mnt/meta-data)"
        umount /mnt
    fi
done
acpid -d > /dev/null 2>&1 &
known=
while :; do
    found=
    for disk in /sys/class/scsi_disk/*; do
        [ -e "$disk/device/block" ] || continue
        lun=${disk##*:}
        found="$found $lun"
        case " $known " in *" $lun "*) continue;; esac
        echo "TINY-DISK $lun $(cat "$disk"/device/block/*/size)"
    done
    for lun in $known; do
        case " $found " in *" $lun "*) ;; *) echo "TINY-GONE $lun";; esac
    done
    known=$found
    usleep 200000
done
INIT
cat > "$root/etc/acpi/PWRF/00000080" <<'BUTTON'
#!/bin/busybox sh
echo TINY-BUTTON > /dev/console
sync
/bin/busybox poweroff -f
BUTTON
chmod 755 "$root/sbin/init" "$root/etc/acpi/PWRF/00000080"
find "$root" -exec touch -h -d @1700000000 {} +
truncate -s 16M "$work/root.raw"
E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -t ext4 -d "$root" \
    -U 6f1f6a52-7469-4e79-8d79-74696e790003 -E hash_seed=6f1f6a52-7469-4e79-8d79-74696e790004,root_owner=0:0 "$work/root.raw"

# What GRUB does: nothing is asked, nothing is searched.
cat > "$work/grub.cfg" <<'GRUB'
linux /vmlinuz console=ttyS0 quiet panic=-1 tsc=unstable
initrd /initrd.gz
boot
GRUB
"$mkimage" -d "$grub/i386-pc" -O i386-pc -o "$work/core.img" -p '(,msdos1)/grub' -c "$work/grub.cfg" \
    biosdisk part_msdos fat linux
"$mkimage" -d "$grub/x86_64-efi" -O x86_64-efi -o "$work/bootx64.efi" -p /grub -c "$work/grub.cfg" \
    part_msdos fat linux
cp "$unpacked"/boot/vmlinuz-* "$work/vmlinuz"
touch -d @1700000000 "$work/vmlinuz" "$work/initrd.gz" "$work/bootx64.efi"
truncate -s 24M "$work/boot.raw"
mformat -i "$work/boot.raw" -N 74696e79 -v TINY ::
mmd -i "$work/boot.raw" ::/EFI ::/EFI/BOOT
mcopy -m -i "$work/boot.raw" "$work/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
mcopy -m -i "$work/boot.raw" "$work/vmlinuz" "$work/initrd.gz" ::/

python3 "$here/join_disk.py" "$grub/i386-pc/boot.img" "$work/core.img" "$work/boot.raw" "$work/root.raw" "$work/tiny.disk"
cp --sparse=always "$work/tiny.disk" "$out/tiny.disk"
