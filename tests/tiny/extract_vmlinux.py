"""extract_vmlinux.py BZIMAGE OUT: takes the ELF kernel out of a bzImage, for a PVH boot.

QEMU starts an ELF kernel without the decompressor, which takes a second under emulation.
"""

import lzma
import subprocess
import sys
import zlib


def piped(*command):
    return lambda data: subprocess.run(command, input=data, capture_output=True).stdout


# The payload's first bytes, and what unpacks it; what follows the payload is ignored by each.
PAYLOADS = (
    (b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor().decompress(data)),
    (b"\x1f\x8b\x08", lambda data: zlib.decompressobj(31).decompress(data)),
    (b"\x28\xb5\x2f\xfd", piped("zstd", "-dcq")),
    (b"\x02\x21\x4c\x18", piped("lz4", "-dcq")),
)


def kernel(image):
    for magic, unpack in PAYLOADS:
        at = image.find(magic)
        while at >= 0:
            try:
                elf = unpack(image[at:])
            except (lzma.LZMAError, zlib.error):
                elf = b""
            if elf.startswith(b"\x7fELF"):
                return elf
            at = image.find(magic, at + 1)
    sys.exit("no ELF kernel in the image")


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as source:
        elf = kernel(source.read())
    with open(sys.argv[2], "wb") as target:
        target.write(elf)
