#!/usr/bin/env python3
"""embed_bios.py DISK CORE: what grub-install does on a GPT disk whose first partition (sector 2048, 1 MiB) is for BIOS.

boot.img's code goes into the protective MBR, core.img into the partition.
"""
import struct
import sys

BOOT = "/usr/lib/grub/i386-pc/boot.img"
LBA = 2048

disk, core = sys.argv[1:]
boot = open(BOOT, "rb").read()
core = bytearray(open(core, "rb").read())
core += bytes(-len(core) % 512)
assert len(core) <= 2048 * 512, "core.img is larger than its partition"
# The first sector of core.img ends with the list of where the rest is: start, sectors, segment.
struct.pack_into("<QHH", core, 0x1F4, LBA + 1, len(core) // 512 - 1, 0x820)
with open(disk, "r+b") as f:
    mbr = bytearray(f.read(512))
    mbr[:440] = boot[:440]
    struct.pack_into("<Q", mbr, 0x5C, LBA)
    mbr[0x66:0x68] = b"\x90\x90"
    f.seek(0)
    f.write(mbr)
    f.seek(LBA * 512)
    f.write(core)
