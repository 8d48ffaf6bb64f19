#!/bin/sh
# make-debian.sh OUT: builds debian.raw, a 2 GiB Debian that boots by BIOS or UEFI and is set up by cloud-init.
#
# Of this machine's own release and mirrors. Needs root; nothing is mounted.
set -eu

out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    awk '/^URIs:/ { print $2 } /^deb / { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; break } }' |
    grep -E '/debian/?$' | head -n 1)
packages=linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,systemd-resolved,udev,dbus,netplan.io,iproute2
packages=$packages,cloud-init,openssh-server,sudo,python3,e2fsprogs,ca-certificates

root=$work/root
mmdebstrap --quiet --mode=root --variant=apt --include="$packages" \
    --aptopt='Apt::Install-Recommends "false"' --dpkgopt=force-unsafe-io "$release" "$root" "deb $mirror $release main"
uuid=6f1f6a52-7469-4e79-8d79-64656269616e
echo "UUID=$uuid / ext4 rw,discard,errors=remount-ro 0 1" > "$root/etc/fstab"
echo debian > "$root/etc/hostname"
mkdir -p "$root/etc/cloud/cloud.cfg.d"
printf 'datasource_list: [ NoCloud, Azure, None ]\nlocale: false\n' > "$root/etc/cloud/cloud.cfg.d/90_dpkg.cfg"
chroot "$root" systemctl enable -q ssh systemd-networkd serial-getty@ttyS0 2>/dev/null || true
# What an image must not share: keys and the machine's id are made by each first boot.
: > "$root/etc/machine-id"
rm -rf "$root"/etc/ssh/ssh_host_* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
ls "$root"/boot/initrd.img-* > /dev/null 2>&1 || chroot "$root" update-initramfs -c -k all > /dev/null

cat > "$work/early.cfg" <<GRUB
search.fs_uuid $uuid root
linux /vmlinuz root=UUID=$uuid ro console=tty0 console=ttyS0,115200 net.ifnames=0 quiet
initrd /initrd.img
boot
GRUB
parts="part_gpt ext2 search_fs_uuid linux"
grub-mkimage -O i386-pc -c "$work/early.cfg" -p /boot/grub -o "$work/core.img" biosdisk $parts
grub-mkimage -O x86_64-efi -c "$work/early.cfg" -p /boot/grub -o "$work/BOOTX64.EFI" $parts

disk=$work/debian.raw
sectors=$((2048 * 2048))
first=$((6 * 2048))
truncate -s $((sectors * 512)) "$disk"
sfdisk -q "$disk" <<TABLE
label: gpt
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name=bios
start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp
start=$first, size=$((sectors - first - 2048)), type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root
TABLE
esp=$disk@@$((4096 * 512))
mformat -i "$esp" -T 8192 -h 1 -s 1 ::
mmd -i "$esp" ::/EFI ::/EFI/BOOT
mcopy -i "$esp" "$work/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
mke2fs -q -t ext4 -L root -U $uuid -E "lazy_itable_init=0,lazy_journal_init=0,offset=$((first * 512))" -J size=16 \
    -d "$root" "$disk" $(((sectors - first - 2048) / 2))k
python3 "$here/../tiny/embed_bios.py" "$disk" "$work/core.img"
fallocate --dig-holes "$disk"
mv "$disk" "$out/debian.raw"
