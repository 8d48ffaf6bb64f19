# parts.sh: what both tiny guests are made of; sourced with OUT and UNPACKED as $1 and $2.
#
# UNPACKED holds Debian's kernel and static busybox as dpkg-deb -x leaves them. Sets out, unpacked, work (removed at
# the end), busybox, modules (the kernel's directory of them) and initrd (begun with busybox and mount points).
out=$(cd "$1" && pwd)
unpacked=$(cd "$2" && pwd)
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

busybox=$unpacked/bin/busybox
[ -x "$busybox" ] || busybox=$unpacked/usr/bin/busybox
modules=$(echo "$unpacked"/lib/modules/*)
[ -d "$modules" ] || modules=$(echo "$unpacked"/usr/lib/modules/*)

initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/mnt" "$initrd/modules"
cp "$busybox" "$initrd/bin/busybox"

# add_modules NAME...: copies modules into the initrd, in the order in which they are loaded: what is needed first.
add_modules() {
    number=10
    for module in "$@"; do
        # What is not there as a module is part of the kernel.
        [ -f "$modules/kernel/$module.ko" ] || continue
        cp "$modules/kernel/$module.ko" "$initrd/modules/$number-$(basename "$module").ko"
        number=$((number + 1))
    done
}

# pack_initrd FILE: the same bytes whenever it is packed from the same parts.
pack_initrd() {
    find "$initrd" -exec touch -h -d @1700000000 {} +
    (cd "$initrd" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0 | gzip -n -1) > "$1"
}
