#!/usr/bin/env python3
"""bench/machines.py [--tiny DIR] [--rounds N] [--many N] [--binary FILE]: how fast machines come, start, change and are captured.

Runs as root on Linux with qemu-system-x86 and ovmf, against a server of its own on 127.0.0.1. DIR holds machine.raw
as `cargo xtask test` makes it (target/test-env/tiny). Everything is measured from outside: requests over HTTPS with
their polling, files and /proc. The local run uses the arguments of the machine's own emulator with the disk as a raw
file in place of the NBD disk, in turn with the machine.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from serving import Server, read, wait

READY = b"TINY-READY"
MACHINES, DISKS, GALLERIES = "2024-07-01", "2024-03-02", "2024-03-03"
MIB = 1 << 20


def directory_of(server, name):
    """Returns the directory of a machine."""
    _, row = server.send("GET", f"{server.id('virtualMachines', name)}?api-version={MACHINES}")
    return os.path.join(server.data, "machines", row["properties"]["vmId"])


def says(log, text, seconds=600):
    def look():
        return os.path.exists(log) and text in read(log)
    wait(look, seconds, f"{text} in {log}")


def body(server, image, size="Standard_B1ls", user_data="note=\n"):
    return {"location": "eastus", "properties": {
        "hardwareProfile": {"vmSize": size},
        "storageProfile": {"imageReference": {"id": image},
                           "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"}},
        "osProfile": {"computerName": "bench", "adminUsername": "me", "adminPassword": "Bench-Word-2026",
                      "customData": base64.b64encode(user_data.encode()).decode()}}}


def command_of(directory):
    """Returns the emulator's process and arguments."""
    run = os.path.realpath(os.path.join(directory, "run"))
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == run:
                words = read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
                if b"qemu-system" in words[0]:
                    return int(pid), [word.decode() for word in words]
        except OSError:
            continue
    raise SystemExit(f"nothing runs in {run}")


def local(words, raw):
    """Returns the same arguments with the disk as a raw file, cached as the host does."""
    out = []
    for word in words:
        if word.startswith("{") and json.loads(word).get("driver") == "nbd":
            node = json.loads(word)
            word = json.dumps({"driver": "file", "node-name": node["node-name"], "filename": raw, "discard": "unmap"})
        out.append(word)
    return out


def boots(server, image, raw, work, rounds):
    """Boots machine and local file in turn; returns the seconds of each."""
    ours, theirs, created = [], [], []
    for number in range(rounds):
        name = f"boot{number}"
        path = server.id("virtualMachines", name)
        begin = time.monotonic()
        created.append(server.done("PUT", path, MACHINES, body(server, image)))
        directory = directory_of(server, name)
        says(os.path.join(directory, "run", "serial.log"), READY)
        ready = time.monotonic()
        pid, words = command_of(directory)
        ticks = int(read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()[19])
        started = ticks / os.sysconf("SC_CLK_TCK") - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()
        ours.append(ready - started)
        run = os.path.join(work, f"local{number}")
        shutil.copytree(os.path.join(directory, "run"), run, ignore=lambda d, names: [
            n for n in names if n.endswith(".sock") or n in ("serial.log", "tpm")])
        open(os.path.join(run, "serial.log"), "wb").close()
        server.done("DELETE", path, MACHINES)
        copy = os.path.join(run, "disk.raw")
        shutil.copyfile(raw, copy)
        begin = time.monotonic()
        process = subprocess.Popen(local(words, copy), cwd=run, stdout=subprocess.DEVNULL)
        try:
            says(os.path.join(run, "serial.log"), READY)
            theirs.append(time.monotonic() - begin)
        finally:
            process.kill()
            process.wait()
        shutil.rmtree(run)
        print(f"  round {number + 1}: created {created[-1]:.2f} s, ready {ours[-1]:.2f} s, local {theirs[-1]:.2f} s",
              flush=True)
    return created, ours, theirs


def attaches(server, image):
    """Attaches empty disks of very different sizes to a running machine."""
    path = server.id("virtualMachines", "attach")
    server.done("PUT", path, MACHINES, body(server, image, "Standard_B2s"))
    says(os.path.join(directory_of(server, "attach"), "run", "serial.log"), READY)
    for gib in (1, 1024, 32767):
        times = []
        for number in range(5):
            disk = server.id("disks", f"d{gib}-{number}")
            server.done("PUT", disk, DISKS, {"location": "eastus", "properties": {
                "diskSizeGB": gib, "creationData": {"createOption": "Empty"}}})
            on = {"lun": 1, "createOption": "Attach", "managedDisk": {"id": disk}}
            change = {"properties": {"storageProfile": {"dataDisks": [on]}}}
            times.append(server.done("PATCH", path, MACHINES, change))
            change["properties"]["storageProfile"]["dataDisks"] = []
            server.done("PATCH", path, MACHINES, change)
            server.done("DELETE", disk, DISKS)
        print(f"attach of {gib} GiB: median {statistics.median(times) * 1000:.0f} ms of {len(times)}", flush=True)
    server.done("DELETE", path, MACHINES)


def capture(server, image, definition):
    """Captures a machine that wrote 10 MiB."""
    script = ("#!/bin/busybox sh\n/bin/busybox dd if=/dev/urandom of=/dev/vda bs=1M count=10 seek=50 "
              "conv=notrunc,fsync 2>/dev/null\n")
    path = server.id("virtualMachines", "wrote")
    server.done("PUT", path, MACHINES, body(server, image, user_data=script))
    says(os.path.join(directory_of(server, "wrote"), "run", "serial.log"), b"TINY-RAN 0")
    server.done("POST", f"{path}/deallocate", MACHINES)
    server.send("POST", f"{path}/generalize?api-version={MACHINES}")
    version = {"location": "eastus", "properties": {
        "publishingProfile": {"targetRegions": [{"name": "eastus"}]},
        "storageProfile": {"source": {"virtualMachineId": path}}}}
    seconds = server.done("PUT", f"{definition}/versions/2.0.0", GALLERIES, version)
    print(f"capture of a machine that wrote 10 MiB: {seconds * 1000:.0f} ms", flush=True)
    server.done("DELETE", path, MACHINES)


def many(server, image, count):
    """Starts many machines from one version and waits until all are up."""
    before, read_before = server.resident(), server.bytes_read()
    begin = time.monotonic()
    names = [f"many{number}" for number in range(count)]
    created = [server.done("PUT", server.id("virtualMachines", name), MACHINES, body(server, image)) for name in names]
    running = time.monotonic() - begin
    directories = [directory_of(server, name) for name in names]
    for directory in directories:
        says(os.path.join(directory, "run", "serial.log"), READY, 3600)
    up = time.monotonic() - begin
    guests = 0
    for directory in directories:
        pid, _ = command_of(directory)
        guests += int(read(f"/proc/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") // MIB
    print(f"{count} machines: processes run after {running:.1f} s (median {statistics.median(created) * 1000:.0f} ms each), "
          f"all ready after {up:.0f} s", flush=True)
    print(f"  server resident {before} MiB before, {server.resident()} MiB after; "
          f"read {(server.bytes_read() - read_before) / MIB:.0f} MiB by system calls, sockets included; "
          f"guests resident {guests} MiB in all", flush=True)
    for name in names:
        server.done("DELETE", server.id("virtualMachines", name), MACHINES)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--tiny", default="target/test-env/tiny")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--many", type=int, default=50)
    words.add_argument("--binary", default="target/release/vitrine")
    args = words.parse_args()
    raw = os.path.abspath(os.path.join(args.tiny, "machine.raw"))
    work = tempfile.mkdtemp(prefix="vitrine-machines-")
    server = None
    try:
        settings = {"VITRINE_MACHINES": "qemu", "VITRINE_ACCELERATOR": "tcg"}
        server = Server(os.path.abspath(args.binary), work, settings)
        server.run("publish", raw, "--to", "bench/tiny/1.0.0", "--generation", "V2")
        definition = server.id("galleries", "bench/images/tiny")
        image = f"{definition}/versions/1.0.0"
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
        created, ours, theirs = boots(server, image, raw, work, args.rounds)
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"create to running process: median {statistics.median(created) * 1000:.0f} ms, "
              f"at most {max(created) * 1000:.0f} ms", flush=True)
        print(f"to the ready line: median {statistics.median(ours):.2f} s from a version, "
              f"{statistics.median(theirs):.2f} s from a local raw file: {ratio:.2f}", flush=True)
        attaches(server, image)
        capture(server, image, definition)
        if args.many:
            many(server, image, args.many)
        print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    finally:
        if server:
            # The guests outlive their server: ended one by one, by their ids.
            root = os.path.join(server.data, "machines")
            for name in os.listdir(root) if os.path.isdir(root) else []:
                try:
                    os.kill(command_of(os.path.join(root, name))[0], signal.SIGKILL)
                except (SystemExit, OSError):
                    pass
            server.stop()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
