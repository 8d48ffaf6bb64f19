#!/bin/bash
# restic, qemu-img, zstd: same files, CPU and wall by GNU time; then casync
cd "${1:?directory of the images}" && mkdir -p peers; P=peers; rm -rf $P/restic $P/casync*; export RESTIC_PASSWORD=x
T() { /usr/bin/time -a -o $P/times.txt -f "$1 wall %e cpu %U + %S" "${@:2}"; }
: > $P/times.txt
restic init -q -r $P/restic
for i in web-1.0.0 web-1.1.0 web-1.2.0 web-1.3.0 web-2.0.0 db-1.0.0; do T "restic $i" restic -q -r $P/restic backup --no-cache $i.raw; echo "restic after $i $(du -sm $P/restic | cut -f1) MiB" >> $P/times.txt; done
T "qemu-img-c web-1.0.0" qemu-img convert -c -O qcow2 -o compression_type=zstd web-1.0.0.raw $P/c.qcow2
T "qemu-img-c web-1.1.0" qemu-img convert -c -O qcow2 -o compression_type=zstd web-1.1.0.raw $P/c11.qcow2
T "qemu-img-plain web-1.1.0" qemu-img convert -O qcow2 web-1.1.0.raw $P/p.qcow2
T "qemu-img export-from-c web-1.1.0" qemu-img convert -O raw $P/c11.qcow2 $P/out.raw
T "qemu-img export-from-plain web-1.1.0" qemu-img convert -O raw $P/p.qcow2 $P/out.raw
T "zstd web-1.0.0" zstd -q -f -T0 -3 web-1.0.0.raw -o $P/z.zst
rm -f $P/out.raw $P/z.zst
mkdir -p $P/casync.castr
for i in web-1.0.0 web-1.1.0 web-1.2.0 web-1.3.0 web-2.0.0 db-1.0.0; do T "casync $i" casync make --store=$P/casync.castr $P/$i.caibx $i.raw >/dev/null; echo "casync after $i $(du -sm $P/casync.castr | cut -f1) MiB" >> $P/times.txt; done

