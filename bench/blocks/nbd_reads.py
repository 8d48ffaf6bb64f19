#!/usr/bin/python3
"""nbd_reads.py IMAGE.raw STORE MANIFEST [SECONDS] [ROUNDS]: the same reads of one image from ours and from nbdkit's file plugin, in turn.

fio (ioengine=nbd) reads 4 KiB at random places of 32 MiB of content, cached on both sides, at queue depths 1 and 16; nbdcopy
reads the whole image to null:. CPU seconds are the server's own. Needs python3-libnbd, fio, nbdkit, libnbd-bin, qemu-utils."""
import json, os, statistics as st, subprocess, sys, tempfile, time
import nbd

image, store, manifest = sys.argv[1:4]
seconds, rounds = (sys.argv[4:] + ["3", "3"][len(sys.argv) - 4 :])[:2]
socket = tempfile.mkdtemp() + "/s"
uri = "nbd+unix:///?socket=" + socket
here = os.path.dirname(os.path.abspath(__file__))
bench = here + "/target/release/bench-blocks"
servers = {
    "ours, reader": [bench, "serve", store, manifest, socket],
    "ours, layer": [bench, "serve", store, manifest, socket, "layer"],
    "nbdkit file": ["nbdkit", "-f", "-r", "-U", socket, "file", image],
    "qemu-nbd raw": ["qemu-nbd", "-r", "-t", "-e", "8", "-f", "raw", "-k", socket, image],
}
content = int(subprocess.check_output(["du", "-B1", image]).split()[0])


def cpu(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect():
    while True:
        try:
            handle = nbd.NBD()
            handle.connect_uri(uri)
            return handle
        except nbd.Error:
            time.sleep(0.001)


def measure(process):
    # Read once, so that caches hold what is read at random: where the image has its first data after 128 MiB.
    handle, at, data = connect(), 128 << 20, []
    fd = os.open(image, os.O_RDONLY)
    at = os.lseek(fd, at, os.SEEK_DATA)
    for offset in range(at, at + (32 << 20), 1 << 20):
        handle.pread(1 << 20, offset)
    handle.shutdown()
    found = {}
    for depth in (1, 16):
        before = cpu(process)
        out = subprocess.run(
            ["fio", "--name=x", "--ioengine=nbd", "--uri=" + uri, "--rw=randread", "--bs=4k", f"--iodepth={depth}",
             f"--runtime={seconds}", "--time_based", f"--offset={at}", "--size=32m", "--output-format=json"],
            capture_output=True, text=True, check=True).stdout
        read = json.loads(out[out.index("{"):])["jobs"][0]["read"]
        found[f"iops{depth}"] = round(read["iops"])
        found[f"p50us{depth}"] = round(read["clat_ns"]["percentile"]["50.000000"] / 1e3)
        found[f"server_us{depth}"] = round((cpu(process) - before) * 1e6 / max(1, read["total_ios"]), 1)
    before, start = cpu(process), time.time()
    subprocess.run(["nbdcopy", uri, "null:"], check=True)
    found["content_mb_per_s"] = round(content / 1e6 / (time.time() - start))
    found["copy_cpu_s"] = round(cpu(process) - before, 2)
    return found


results = {name: [] for name in servers}
for _ in range(int(rounds)):
    for name, command in servers.items():
        if os.path.exists(socket):
            os.unlink(socket)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        results[name].append(measure(process))
        process.kill()
        process.wait()
for name, found in results.items():
    print(json.dumps({"server": name, **{key: st.median(each[key] for each in found) for key in found[0]}}), flush=True)
