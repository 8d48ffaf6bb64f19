"""targets.py IMAGES [--slow] [--work DIR] [--rounds N]: see targets.sh.

Ours and a peer run in turn, on files in the page cache; the number is the median of the rounds. CPU is user + system of the process
and its children. Wall of ours is from an open store to a durable manifest; the peers do not sync."""
import argparse, json, os, resource, shutil, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("images")
parser.add_argument("--slow", action="store_true", help="casync and borg too")
parser.add_argument("--work", help="where stores are built; a directory beside the images by default")
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
NAMES = ["web-1.0.0", "web-1.1.0", "web-1.2.0", "web-1.3.0", "web-2.0.0", "db-1.0.0"]
HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = HERE + "/target/release/bench-blocks"
WORK = tempfile.mkdtemp(prefix="targets.", dir=args.work or args.images)
os.environ.update(RESTIC_PASSWORD="x", RESTIC_CACHE_DIR=WORK + "/restic-cache", BORG_CACHE_DIR=WORK + "/borg-cache",
                  BORG_CONFIG_DIR=WORK + "/borg", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")
rows = []


def say(text):
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


def raw(name):
    return f"{args.images}/{name}.raw"


def at(*parts):
    return os.path.join(WORK, *parts)


def mib(path):
    return int(subprocess.check_output(["du", "-s", "-B1", path]).split()[0]) / (1 << 20)


def ours(*command, **env):
    """What one verb of bench-blocks prints, a dictionary a line."""
    out = subprocess.check_output([BENCH, *command], text=True, env={**os.environ, **env})
    return [json.loads(line) for line in out.splitlines()]


def peer(*command):
    """Wall and CPU seconds of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
    if os.path.isfile(path):
        os.unlink(path)


def clone(source, target):
    """A store of the same packs: they never change, so a second name is enough."""
    remove(target)
    subprocess.run(["cp", "-al", source, target], check=True)


def row(target, found, other, ratio, is_reached):
    rows.append((target, found, other, ratio, {True: "yes", False: "NO", None: "not measured"}[is_reached]))
    say(f"{target}: {found} | {other} | {ratio}")


def ratio_row(target, unit, mine, theirs, limit, what):
    mine, theirs = statistics.median(mine), statistics.median(theirs)
    row(target, f"{mine:.2f} {unit}", f"{what} {theirs:.2f} {unit}", f"{mine / theirs:.2f} (≤ {limit:.2f})", mine <= limit * theirs)


def warm():
    for name in NAMES:
        subprocess.run(["dd", "if=" + raw(name), "of=/dev/null", "bs=1M", "status=none"], check=True)


def ingest_all():
    """Our store after each image, under a name of its own, and what was said of each."""
    said = []
    for n, name in enumerate(NAMES):
        clone(at(f"stage{n - 1}"), at(f"stage{n}")) if n else None
        said += ours("ingest", at(f"stage{n}"), raw(name))
        say(f"ours {name}: {said[-1]['cpu_s']} s of CPU, {said[-1]['store_mib']} MiB")
    return said


def stored(said):
    clone(at("stage5"), at("condensed"))
    condensed = ours("condense", at("condensed"))[0]
    mine = mib(at("condensed", "store"))
    sizes, cpu = {}, {}
    ways = {"restic": lambda name: ["restic", "-q", "-r", at("restic"), "backup", raw(name)],
            "qcow2+zstd": lambda name: ["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", raw(name), at("qcow2", name)]}
    if args.slow:
        ways["casync"] = lambda name: ["casync", "make", "--store=" + at("casync", "c.castr"), at("casync", name + ".caibx"), raw(name)]
        ways["borg"] = lambda name: ["borg", "create", "-C", "zstd,3", at("borg") + "::" + name, raw(name)]
    subprocess.run(["restic", "-q", "-r", at("restic"), "init"], check=True)
    os.makedirs(at("qcow2")), os.makedirs(at("casync"))
    if args.slow:
        subprocess.run(["borg", "init", "-e", "none", at("borg")], check=True)
    for way, command in ways.items():
        cpu[way] = [peer(*command(name))[1] for name in NAMES]
        folder = {"qcow2+zstd": "qcow2"}.get(way, way)
        sizes[way] = mib(at(folder))
        say(f"{way}: {sizes[way]:.0f} MiB, {sum(cpu[way]):.1f} s of CPU")
        if way != "qcow2+zstd":
            remove(at(folder))
    best = min(sizes, key=sizes.get)
    note = "" if args.slow else "; casync is smaller, --slow runs it"
    row("stored bytes of six images, condensed", f"{mine:.0f} MiB", f"{best} {sizes[best]:.0f} MiB{note}", f"{mine / sizes[best]:.3f} (≤ 0.66)", mine <= 0.66 * sizes[best] if args.slow else None)
    row("stored bytes as ingested, for comparison", f"{mib(at('stage5', 'store')):.0f} MiB", f"condensing took {condensed['cpu_s']:.1f} s of CPU", "", None)
    mine = sum(each["cpu_s"] for each in said[1:5])
    ratio_row("ingest of four successive versions, CPU", "s", [mine], [sum(cpu["restic"][1:5])], 1 / 6, "restic")


def walls():
    for n in range(1, 5):
        mine, theirs = [], []
        for _ in range(args.rounds):
            clone(at(f"stage{n - 1}"), at("round"))
            mine.append(ours("ingest", at("round"), raw(NAMES[n]))[0]["wall_s"])
            remove(at("plain"))
            theirs.append(peer("qemu-img", "convert", "-O", "qcow2", raw(NAMES[n]), at("plain"))[0])
        ratio_row(f"ingest of {NAMES[n]}, wall", "s", mine, theirs, 1 / 2, "qemu-img convert")
    mine, theirs = [], []
    for _ in range(args.rounds):
        remove(at("round"))
        mine.append(ours("ingest", at("round"), raw(NAMES[0]))[0])
        remove(at("plain"))
        theirs.append(peer("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", raw(NAMES[0]), at("plain")))
    ratio_row("first image, CPU", "s", [m["cpu_s"] for m in mine], [cpu for _, cpu in theirs], 0.8, "qemu-img convert -c")
    ratio_row("first image, wall", "s", [m["wall_s"] for m in mine], [wall for wall, _ in theirs], 0.8, "qemu-img convert -c")


def exports(said):
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw(NAMES[1]), at("plain")], check=True)
    mine, packed, plain = [], [], []
    for _ in range(args.rounds + 2):
        for source, found in ((None, mine), (at("qcow2", NAMES[1]), packed), (at("plain"), plain)):
            remove(at("out.raw"))
            if source:
                found.append(peer("qemu-img", "convert", "-O", "raw", source, at("out.raw")))
            else:
                found.append(ours("export", at("condensed"), said[1]["manifest"], at("out.raw"))[0])
                if len(mine) == 1:
                    subprocess.run(["cmp", at("out.raw"), raw(NAMES[1])], check=True)
    remove(at("out.raw"))
    ratio_row("export to raw, CPU", "s", [m["cpu_s"] for m in mine], [cpu for _, cpu in packed], 1 / 2, "qemu-img from qcow2+zstd")
    ratio_row("export to raw, wall", "s", [m["wall_s"] for m in mine], [wall for wall, _ in plain], 1.5, "qemu-img from qcow2")


def disks(said):
    small = ours("disk", at("condensed"), said[1]["manifest"])[0]
    sparse = {each["sparse"]: each for each in ours("sparse", at("sparse"), at("sparse-copy"))}
    remove(at("sparse")), remove(at("sparse-copy"))
    row("disk of 4 GiB from a manifest, reader", f"{small['reader_ms']:.2f} ms", "", "< 5 ms", small["reader_ms"] < 5)
    row("disk of 4 GiB from a manifest, layer", f"{small['layer_ms']:.2f} ms", "", "< 5 ms", small["layer_ms"] < 5)
    row("first byte of a cold disk", f"{small['first_byte_cold_ms']:.2f} ms", "", "< 50 ms", small["first_byte_cold_ms"] < 50)
    for what in ("reader", "layer"):
        if what in sparse:
            found = sparse[what]["wall_s"] * 1e3
            row(f"disk of 32 TiB with 1 GiB from a manifest, {what}", f"{found:.2f} ms", "", "< 5 ms", found < 5)
    done = sparse["ingest"]
    row("the same: ingest and manifest", f"{done['cpu_s']:.1f} s, {done['manifest_kib']} KiB", f"{done['content_mb'] / done['cpu_s']:.0f} MB a CPU second", "as 1 GiB", done["manifest_kib"] <= 256)


def nbd(said):
    out = subprocess.check_output(["/usr/bin/python3", HERE + "/nbd_reads.py", raw(NAMES[1]), at("condensed"), said[1]["manifest"], "3", str(args.rounds)], text=True)
    found = {each["server"]: each for each in map(json.loads, out.splitlines())}
    mine, theirs = found["ours, reader"], found["nbdkit file"]
    row("NBD 4 KiB random reads at depth 16", f"{mine['iops16']:,.0f}/s", f"nbdkit {theirs['iops16']:,.0f}/s", f"{mine['iops16'] / theirs['iops16']:.2f} (≥ 1)", mine["iops16"] >= theirs["iops16"])
    row("the same at depth 1, median", f"{mine['p50us1']} µs", f"nbdkit {theirs['p50us1']} µs", f"{mine['p50us1'] / theirs['p50us1']:.2f} (≤ 1.5)", mine["p50us1"] <= 1.5 * theirs["p50us1"])
    row("NBD sequential, cold", f"{mine['content_mb_per_s']} MB/s", f"nbdkit {theirs['content_mb_per_s']} MB/s", "≥ 1000 MB/s", mine["content_mb_per_s"] >= 1000)


def copies(said):
    done = ours("copy", at("stage5"), at("copy"), *(each["manifest"] for each in said))
    worst = max(d["moved_mb"] / max(0.1, s["new_stored_mb"]) for d, s in zip(done, said))
    row("copy of a version, bytes over its new stored bytes", ", ".join(f"{d['moved_mb']:.1f}" for d in done) + " MB", "the worst of six", f"{worst:.2f} (≤ 1.1)", worst <= 1.1)
    folder = at("stage5", "store", "manifests")
    largest = max(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    row("manifest", f"{largest >> 10} KiB", "the largest of six", "≤ 256 KiB", largest <= 256 << 10)


def index(said):
    found = ours("index", str(256 << 20))
    resident = found[-1]["resident_mib_at_the_end"]
    row("index of 1 TiB", f"{resident} MiB", f"{found[1]['per_s']:,} look-ups/s", "≤ 512 MiB", resident <= 512)
    sampled = ours("ingest", at("sampled"), *map(raw, NAMES), INDEX_BYTES="460000")
    content = sum(each["content_mb"] for each in said)
    known = lambda all: content - sum(each["new_mb"] for each in all)
    part = known(sampled) / known(said)
    row("known blocks that a sampled index finds", f"{100 * part:.1f} %", "the exact index 100 %", "≥ 90 %", part >= 0.9)


def main():
    try:
        warm()
        said = ingest_all()
        walls()
        stored(said)
        exports(said)
        disks(said)
        nbd(said)
        copies(said)
        index(said)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"{time.strftime('%F %T')}, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors\n")
    print("| target | ours | peer | ratio or limit | reached |\n|---|---|---|---|---|")
    for each in rows:
        print("| " + " | ".join(each) + " |")


main()
