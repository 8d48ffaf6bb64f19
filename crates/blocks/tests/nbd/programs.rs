//! What the programs of others make of a reader and of a layer.

use std::sync::Arc;

use crate::world::{LAYER, MIB, World, run, sample, try_run};

#[tokio::test(flavor = "multi_thread")]
async fn nbdinfo_sees_what_a_disk_is_and_where_it_holds_data() {
    let world = World::new().await;
    let mut bytes = vec![0; 8 * MIB];
    bytes[MIB..2 * MIB].fill(7);
    let (reader, layer) = (world.reader(&bytes).await, world.layer(&bytes).await);
    layer.write_at(4 << 20, &[9; 8192]).await.unwrap();
    world.server.add("image", Arc::new(reader)).unwrap();
    world.server.add("disk", Arc::new(layer)).unwrap();
    for (name, is_read_only) in [("image", true), ("disk", false)] {
        let text = run("nbdinfo", &[&world.uri(name)]).await;
        let flag = |name, value: bool| format!("{name}: {value}");
        for word in [
            "export-size: 8388608".to_owned(),
            flag("is_read_only", is_read_only),
            flag("can_multi_conn", true),
            flag("can_trim", !is_read_only),
            flag("can_zero", !is_read_only),
            flag("can_fua", true),
            flag("can_cache", true),
        ] {
            assert!(text.contains(&word), "{name}: {word}: {text}");
        }
    }
    let map = async |name| {
        let text = run("nbdinfo", &["--map", &world.uri(name)]).await;
        let run = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            (number(), number(), number())
        };
        text.lines().map(run).collect::<Vec<_>>()
    };
    let (mib, data, hole) = (1 << 20, 0, 3);
    assert_eq!(
        map("image").await,
        [(0, mib, hole), (mib, mib, data), (2 * mib, 6 * mib, hole)]
    );
    assert_eq!(
        map("disk").await,
        [
            (0, mib, hole),
            (mib, mib, data),
            (2 * mib, 2 * mib, hole),
            (4 * mib, 8192, data),
            (4 * mib + 8192, 4 * mib - 8192, hole)
        ]
    );
    let list = run("nbdinfo", &["--list", &world.uri("")]).await;
    assert!(
        list.contains("\"image\"") && list.contains("\"disk\""),
        "{list}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdcopy_and_qemu_img_copy_a_reader_and_into_a_layer() {
    let world = World::new().await;
    let bytes = sample(37 * MIB + 512, 11);
    let reader = world.reader(&bytes).await;
    let layer = world.layer(&vec![0xAA; bytes.len()]).await;
    world.server.add("image", Arc::new(reader)).unwrap();
    world.server.add("disk", Arc::new(layer.clone())).unwrap();
    let (from, to) = (world.uri("image"), world.uri("disk"));
    let out = world.path("out.raw").display().to_string();
    let raw = ["-f", "raw", "-O", "raw"];
    run("nbdcopy", &[&from, &out]).await;
    assert!(
        std::fs::read(&out).unwrap() == bytes,
        "nbdcopy from a reader"
    );
    run(
        "qemu-img",
        &[&["convert"], &raw[..], &[&from, &out]].concat(),
    )
    .await;
    assert!(
        std::fs::read(&out).unwrap() == bytes,
        "qemu-img from a reader"
    );
    run("nbdcopy", &["--flush", "--connections=4", &out, &to]).await;
    let copied = layer.read(0, bytes.len()).await.unwrap();
    assert!(copied == bytes, "nbdcopy into a layer");
    let other = sample(bytes.len(), 12);
    std::fs::write(&out, &other).unwrap();
    run(
        "qemu-img",
        &[&["convert", "-n"], &raw[..], &[&out, &to]].concat(),
    )
    .await;
    let copied = layer.read(0, bytes.len()).await.unwrap();
    assert!(copied == other, "qemu-img into a layer");
    run("nbdcopy", &[&from, &to]).await;
    run(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "raw", &from, &to],
    )
    .await;
    // What a client wrote is a disk like any other.
    let frozen = layer.freeze(None).await.unwrap();
    let reader = world.store.open_reader(frozen.manifest).await.unwrap();
    assert!(reader.read(0, bytes.len()).await.unwrap() == bytes);
    assert_eq!(world.server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_io_writes_reads_zeroes_discards_and_flushes_a_layer() {
    let world = World::new().await;
    let layer = world.layer(&vec![9; 4 * MIB]).await;
    world.server.add("disk", Arc::new(layer.clone())).unwrap();
    let commands = [
        "read -P 9 0 4M",
        "write -P 1 0 64k",
        "write -f -P 2 64k 512",
        "write -z 1M 128k",
        "write -z -u 2M 128k",
        "write -z -n -u 2560k 64k",
        "write -z 3000001 100001",
        "discard 3M 64k",
        "discard 3500001 5001",
        "flush",
        "read -P 1 0 64k",
        "read -P 2 64k 512",
        "read -P 9 65k 512",
        "read -P 0 1M 128k",
        "read -P 0 2M 128k",
        "read -P 9 2999001 1000",
        "read -P 0 3000001 100001",
        "read -P 9 3100002 1000",
        "aio_write -P 4 256k 512k",
        "aio_write -P 5 768k 64k",
        "aio_flush",
        "read -P 4 256k 512k",
        "read -P 5 768k 64k",
    ];
    let uri = world.uri("disk");
    let mut args = vec!["-f", "raw", "-t", "writeback"];
    commands.iter().for_each(|what| args.extend(["-c", *what]));
    args.push(&uri);
    let text = run("qemu-io", &args).await;
    assert!(!text.contains("fail") && !text.contains("error"), "{text}");
    // All of it is durable: opened again it is the same.
    let before = layer.read(0, 4 * MIB).await.unwrap();
    assert!(before[..65536].iter().all(|byte| *byte == 1));
    assert!(world.server.remove("disk").await);
    drop(layer);
    let again = world.store.open_layer(LAYER).await.unwrap();
    assert!(again.read(0, 4 * MIB).await.unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_io_cannot_write_to_a_reader_or_beyond_the_end() {
    let world = World::new().await;
    let reader = world.reader(&vec![9; MIB]).await;
    let layer = world.layer(&vec![8; MIB + 512]).await;
    world.server.add("image", Arc::new(reader)).unwrap();
    world.server.add("disk", Arc::new(layer)).unwrap();
    let (image, disk) = (world.uri("image"), world.uri("disk"));
    let written = try_run("qemu-io", &["-f", "raw", "-c", "write 0 512", &image]).await;
    assert!(!written.status.success());
    run(
        "qemu-io",
        &["-r", "-f", "raw", "-c", "read -P 9 0 1M", &image],
    )
    .await;
    let beyond = try_run("qemu-io", &["-f", "raw", "-c", "write 1M 1024", &disk]).await;
    assert!(!beyond.status.success());
    run("qemu-io", &["-f", "raw", "-c", "write -P 3 1M 512", &disk]).await;
}
