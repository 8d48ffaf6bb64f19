"""join_disk.py BOOT CORE FAT EXT4 OUT: a disk of GRUB's two parts and two partitions.

GRUB's boot sector reads its core from sector 1 on; the core's first sector holds the list of the
others in its last twelve bytes: where, how many, to which segment.
"""
import struct
import sys

SECTOR = 512
FIRST = 2048

boot, core, fat, ext4 = (open(path, "rb").read() for path in sys.argv[1:5])
core += bytes(-len(core) % SECTOR)
assert len(core) + SECTOR <= FIRST * SECTOR
core = core[: SECTOR - 12] + struct.pack("<QHH", 2, len(core) // SECTOR - 1, 0x820) + core[SECTOR:]


def partition(kind, start, content):
    """An entry of the table; its old geometry says "too large"."""
    beyond = b"\xfe\xff\xff"
    return b"\0" + beyond + bytes([kind]) + beyond + struct.pack("<II", start, len(content) // SECTOR)


second = FIRST + len(fat) // SECTOR
table = partition(0xEF, FIRST, fat) + partition(0x83, second, ext4) + bytes(32)
disk = boot[:440] + b"tiny\0\0" + table + b"\x55\xaa" + core
disk += bytes(FIRST * SECTOR - len(disk)) + fat + ext4
# Whole mebibytes, as the service wants its disks.
disk += bytes(-len(disk) % (1 << 20))
with open(sys.argv[5], "wb") as out:
    out.write(disk)
