#!/usr/bin/env python3
"""bench/versions.py [--many N] [--rounds N] [--binary FILE]: what a request costs with 1,000 and with a million versions.

Runs a server of its own on 127.0.0.1. One version is published; its rows are copied in the catalog (SQLite) while the
server is stopped, as many publishes would take days. Every copy has the content of the first, so every one can be
used. Measured over HTTPS on one connection for each request, with the polling of what is asynchronous.
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time

from serving import Server

GALLERIES, DISKS = "2024-03-03", "2024-03-02"
FEW = 1000


def fill(database, count):
    """Copies the rows of version 1.0.0 until there are `count`, numbered upwards."""
    db = sqlite3.connect(database)
    db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000000;")
    begin = time.monotonic()

    def copies(table, values):
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        shown = ", ".join(values.get(column, column) for column in columns)
        of = "owner" if table == "replicas" else "key"
        db.execute(f"WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   f"INSERT INTO {table} ({', '.join(columns)}) SELECT {shown} FROM {table}, n WHERE {of} LIKE '%/versions/1.0.0'",
                   (there, count - 1))

    there = db.execute("SELECT count(*) FROM resources WHERE key LIKE '%/versions/%'").fetchone()[0]
    number = "'1.' || (i / 1000) || '.' || (i % 1000)"

    def named(column):
        return f"replace({column}, '/versions/1.0.0', '/versions/' || {number})"

    sort = "printf('%010d.%010d.%010d', 1, i / 1000, i % 1000)"
    copies("resources", {"key": named("key"), "id": named("id"), "sort_key": sort})
    copies("replicas", {"owner": named("owner")})
    db.commit()
    db.executescript("PRAGMA journal_mode=WAL")
    db.close()
    print(f"{count} versions: filled in {time.monotonic() - begin:.0f} s, {os.path.getsize(database) >> 20} MiB", flush=True)


def measure(server, rounds, count):
    """Returns the medians in milliseconds, by name."""
    definition = server.id("galleries", "bench/images/disk")
    middle = f"1.{count // 2000}.{count // 2 % 1000}"
    pages = f"{definition}/versions?api-version={GALLERIES}"
    newest = f"1.{(count - 1) // 1000}.{(count - 1) % 1000}"
    times = {}

    def timed(name, work):
        begin = time.monotonic()
        found = work()
        times.setdefault(name, []).append((time.monotonic() - begin) * 1000)
        return found

    for number in range(rounds):
        timed("GET one version", lambda: server.send("GET", f"{definition}/versions/{middle}?api-version={GALLERIES}"))
        _, first = timed("first page of versions", lambda: server.send("GET", pages))
        timed("second page", lambda: server.send("GET", first["nextLink"]))
        disk = server.id("disks", f"disk{number}")
        asked = {"location": "eastus", "properties": {"creationData": {
            "createOption": "FromImage", "galleryImageReference": {"id": definition}}}}
        timed("disk from latest", lambda: server.done("PUT", disk, DISKS, asked))
        _, row = server.send("GET", f"{disk}?api-version={DISKS}")
        source = row["properties"]["creationData"]["galleryImageReference"]["id"]
        if not source.endswith((f"/versions/{newest}", "/images/disk")):
            raise SystemExit(f"latest is {source}, not {newest}")
        timed("delete of the disk", lambda: server.done("DELETE", disk, DISKS))
    return {name: statistics.median(all_) for name, all_ in times.items()}


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--many", type=int, default=1_000_000)
    words.add_argument("--rounds", type=int, default=50)
    words.add_argument("--binary", default="target/release/vitrine")
    args = words.parse_args()
    work = tempfile.mkdtemp(prefix="vitrine-versions-")
    binary, found, server = os.path.abspath(args.binary), [], None
    try:
        server = Server(binary, work)
        raw = os.path.join(work, "disk.raw")
        with open(raw, "wb") as file:
            file.write(os.urandom(1 << 20))
            file.truncate(64 << 20)
        server.run("publish", raw, "--to", "bench/disk/1.0.0")
        for count in (FEW, args.many):
            server.stop()
            fill(os.path.join(server.data, "catalog.db"), count)
            server = Server(binary, work)
            measure(server, 5, count)
            found.append(measure(server, args.rounds, count))
            print(f"resident {server.resident()} MiB", flush=True)
        print(f"{'median ms':24} {FEW:>10} {args.many:>10}")
        for name, few in found[0].items():
            print(f"{name:24} {few:10.2f} {found[1][name]:10.2f}  {found[1][name] / few:.2f}")
    finally:
        if server:
            server.stop()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
