//! Guests that mean harm: what they write stays bytes, floods are bounded, a full store is their own loss.

#![expect(
    clippy::disallowed_methods,
    reason = "it mounts the small disk that a guest fills"
)]

mod guests;

use std::process::Command;

use guests::{GUEST, VERSION, World, body};
use serde_json::{Value, json};
use testkit::{GALLERY_VERSION, Gallery, until};

const MIB: usize = 1 << 20;
/// What a guest puts at the start of its system disk: the boot code that UEFI does not run.
const HEAD_BYTES_MAX: usize = 440;

/// A qcow2 header (version 3) of a disk of 64 MiB, with a backing file of the host.
fn qcow2(backing: &str) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend_from_slice(b"QFI\xfb");
    head.extend_from_slice(&3_u32.to_be_bytes());
    head.extend_from_slice(&112_u64.to_be_bytes());
    head.extend_from_slice(&u32::try_from(backing.len()).expect("short").to_be_bytes());
    head.extend_from_slice(&16_u32.to_be_bytes());
    head.extend_from_slice(&(64_u64 << 20).to_be_bytes());
    head.resize(104, 0);
    head.extend_from_slice(&[0; 8]);
    head.extend_from_slice(backing.as_bytes());
    assert!(head.len() <= HEAD_BYTES_MAX);
    head
}

/// A footer of a differencing VHD whose dynamic header follows at once.
fn vhd_footer() -> Vec<u8> {
    let mut footer = b"conectix\0\0\0\x02\0\x01\0\0".to_vec();
    footer.extend_from_slice(&512_u64.to_be_bytes());
    footer.resize(60, 0);
    footer.extend_from_slice(&4_u32.to_be_bytes());
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer.extend_from_slice(&(!sum).to_be_bytes());
    footer.resize(512, 0);
    footer
}

/// A line of shell that writes bytes to a disk of the guest, durably.
fn write(disk: &str, offset: usize, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!(
        "$b printf '{digits}' | $b dd of=/dev/{disk} bs=1 seek={offset} conv=notrunc,fsync 2>/dev/null || exit 1\n"
    )
}

fn script(lines: &str) -> String {
    format!("#!/bin/busybox sh\nb=/bin/busybox\n{lines}")
}

/// A machine with an empty data disk of one GiB at LUN 0.
fn with_data(image: &str, host: &str, user_data: &str) -> Value {
    let mut made = body(image, host, user_data);
    made["properties"]["storageProfile"]["dataDisks"] =
        json!([{ "lun": 0, "createOption": "Empty", "diskSizeGB": 1 }]);
    made
}

async fn capture(world: &World, name: &str, number: &str) -> String {
    world.act(name, "deallocate").await;
    let generalize = format!("{}/generalize", world.machine(name));
    let arm = &world.scene.arm;
    let answer = arm.send("POST", &generalize, VERSION, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = json!({ "location": "eastus", "properties": {
        "publishingProfile": { "targetRegions": [{ "name": "eastus" }] },
        "storageProfile": { "source": { "virtualMachineId": world.machine(name) } } } });
    let version = world.scene.version(number);
    arm.done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    version
}

/// The files that the only machine's process has open.
fn open_files(world: &World) -> Vec<String> {
    let pids = world.server.guests().concat();
    let [pid] = pids[..] else {
        panic!("one process, not {pids:?}");
    };
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    all.filter_map(|one| std::fs::read_link(one.ok()?.path()).ok())
        .map(|path| path.display().to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_writes_as_another_format_stays_raw_to_the_next_machine_and_the_export() {
    let world = World::new().await;
    let tiny = std::env::var("VITRINE_TEST_TINY").expect("VITRINE_TEST_TINY is set");
    let mut wanted = std::fs::read(format!("{tiny}/machine.raw")).expect("there");
    let (header, footer) = (qcow2("/etc/passwd"), vhd_footer());
    let (end, data_end) = (wanted.len() - 512, (1 << 30) - 512);
    let lines = [
        write("vda", 0, &header),
        write("vda", end, &footer),
        write("sda", 0, &footer),
        write("sda", 512, b"cxsparse"),
        write("sda", data_end, &footer),
    ];
    wanted[..header.len()].copy_from_slice(&header);
    wanted[end..].copy_from_slice(&footer);
    let first = with_data(
        &world.scene.version("1.0.0"),
        "first",
        &script(&lines.concat()),
    );
    world.make("one", &first).await;
    world.says("one", "TINY-RAN 0").await;
    let version = capture(&world, "one", "2.0.0").await;

    // The next machine boots from it, and sees what was written and nothing else.
    let look = "for at in vda sda; do echo TINY-HEAD $at $($b head -c 8 /dev/$at | $b od -An -tx1); done\n";
    let second = body(&version, "second", &script(look));
    world.make("two", &second).await;
    let log = world.says("two", "TINY-READY").await;
    for line in [
        "TINY-HEAD vda 51 46 49 fb 00 00 00 03",
        "TINY-HEAD sda 63 6f 6e 65 63 74 69 78",
        "TINY-DISK sda 1073741824",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    for file in open_files(&world) {
        let is_own = ["/proc", "/dev", "socket:", "pipe:", "anon_inode:", "/memfd"]
            .iter()
            .any(|part| file.starts_with(part));
        let is_shared = file.contains("/machines/") || file.starts_with("/usr/");
        assert!(is_own || is_shared, "the emulator has {file} open");
    }
    let out = world.scene.download(&version, "eastus", "os").await;
    assert!(out == wanted, "the system disk is what the guest wrote");

    // The data disk comes out of a disk that is made of the version.
    let arm = &world.scene.arm;
    let disk = world.scene.disk("data");
    let made = json!({ "location": "eastus", "properties": { "creationData": {
        "createOption": "FromImage", "galleryImageReference": { "id": version, "lun": 0 } } } });
    arm.done("PUT", &disk, testkit::DISK_VERSION, Some(&made))
        .await;
    let url = world.scene.access(&disk, "Read").await;
    let read = async |from: usize, to: usize| {
        let range = format!("bytes={from}-{}", to - 1);
        let request = arm.http().get(&url).header("x-ms-version", "2021-12-02");
        let answer = request.header("x-ms-range", range).send().await;
        answer.expect("it answers").bytes().await.expect("bytes")
    };
    let mut head = footer.clone();
    head.extend_from_slice(b"cxsparse");
    head.resize(4 * MIB, 0);
    assert!(read(0, 4 * MIB).await[..] == head[..]);
    assert!(read(data_end, data_end + 512).await[..] == footer[..]);
    for name in ["one", "two"] {
        arm.done("DELETE", &world.machine(name), VERSION, None)
            .await;
    }
    assert!(world.server.guests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_the_serial_port_is_bounded_and_says_what_is_missing() {
    let world = World::new().await;
    // Colours, a title, a bell and a turned direction first; then more than is kept.
    let lines = r#"
$b printf '\033[31mRED\033[0m \033]0;owned\007 \342\200\256evil\n'
n=0
line=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
line=$line$line$line$line$line$line$line$line
while [ $n -lt 3500 ]; do echo "$n $line"; n=$((n + 1)); done
"#;
    let flood = body(&world.scene.version("1.0.0"), "flood", &script(lines));
    world.make("one", &flood).await;
    let early = until("the guest says something", GUEST, || async {
        let log = world.log("one").await;
        log.contains("evil").then_some(log)
    });
    let early = early.await;
    assert!(!early.contains('\u{1b}') && !early.contains('\u{7}'), "raw");
    assert!(!early.contains('\u{202e}'), "a direction is turned");
    assert!(early.contains("RED "), "{early}");
    let log = world.says("one", "TINY-READY").await;
    let first = log.lines().next().unwrap_or_default();
    assert!(
        first.ends_with("bytes before this are not kept or not shown]"),
        "{first}"
    );
    assert!(log.len() < 3 * MIB, "{}", log.len());
    assert!(log.contains("3499 xxxx"), "the end is kept");
    let kept: Vec<u32> = log
        .lines()
        .filter(|line| line.ends_with("xxxx"))
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    let is_told = log.contains("bytes of a flood are lost here]");
    let is_whole = kept.windows(2).all(|two| two[0] + 1 == two[1]);
    assert!(is_whole || is_told, "a gap that nobody is told of");
    let run = world.server.data().join("machines");
    let used = Command::new("du")
        .args(["-sb"])
        .arg(&run)
        .output()
        .expect("du runs");
    let used = String::from_utf8_lossy(&used.stdout);
    let used: usize = used
        .split('\t')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert!(used < 8 * MIB, "{used} bytes are kept of a flood");
    world
        .scene
        .arm
        .done("DELETE", &world.machine("one"), VERSION, None)
        .await;
}

/// A small disk over the layers of a region; gone when it is dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn over(path: &std::path::Path, mib: usize) -> Self {
        std::fs::create_dir_all(path).expect("the directory can be made");
        let options = format!("size={mib}m");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .status();
        assert!(done.is_ok_and(|done| done.success()), "root can mount");
        Self(path.to_owned())
    }

    fn grow(&self, mib: usize) {
        let options = format!("remount,size={mib}m");
        let done = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .status();
        assert!(done.is_ok_and(|done| done.success()), "root can mount");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|done| done.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_fills_the_store_sees_errors_and_harms_nobody_else() {
    let mut server = Gallery::start(World::options()).await;
    assert!(server.stop());
    let small = SmallDisk::over(&server.data().join("local/eastus"), 160);
    server.resume().await;
    let world = World::with(server).await;
    let arm = &world.scene.arm;
    let image = world.scene.version("1.0.0");
    // The neighbour flushes a number every second, and says so.
    let count = "n=0; while :; do n=$((n + 1)); echo $n | $b dd of=/dev/vda bs=512 seek=0 conv=notrunc,fsync 2>/dev/null && echo TINY-OK $n; $b sleep 1; done &\n";
    world
        .make("neighbour", &body(&image, "neighbour", &script(count)))
        .await;
    world.says("neighbour", "TINY-READY").await;
    // It writes until it cannot, says so, and tries again when it is told that there is space.
    let fill = "$b dd if=/dev/urandom of=/dev/sda bs=1M oflag=direct 2>&1; echo TINY-FILLED $?\n\
                while ! echo again | $b dd of=/dev/sda bs=512 seek=2000000 conv=notrunc,fsync 2>/dev/null; do $b sleep 1; done; echo TINY-AGAIN\n";
    world
        .make("filler", &with_data(&image, "filler", &script(fill)))
        .await;
    let log = world.says("filler", "TINY-FILLED 1").await;
    assert!(log.contains("I/O error") || log.contains("error"), "{log}");
    assert_eq!(
        world.power("filler").await,
        "running",
        "it is not stopped by it"
    );
    let view = world.view("filler").await;
    let disks = view["disks"].as_array().cloned().unwrap_or_default();
    let told = disks
        .iter()
        .find(|disk| disk["statuses"][1]["code"] == "StorageState/failing");
    let told = told.unwrap_or_else(|| panic!("nothing is said of it: {view}"));
    let message = told["statuses"][1]["message"].as_str().unwrap_or_default();
    assert!(message.contains("no space is left"), "{message}");
    let errors = world.server.log_text().matches("NBD write failed").count();
    assert!(errors <= 20, "{errors} lines in the log of the server");

    // The neighbour runs, and the server answers and reads. Its own writes may fail like everybody's.
    assert_eq!(world.power("neighbour").await, "running");
    let shown = arm.send("GET", &image, GALLERY_VERSION, None).await;
    assert_eq!(shown.status, 200);
    small.grow(1400);
    world.says("filler", "TINY-AGAIN").await;
    until("the trouble is over", GUEST, || async {
        let view = world.view("filler").await;
        (!view.to_string().contains("StorageState/failing")).then_some(())
    })
    .await;
    let said = world.log("neighbour").await.matches("TINY-OK").count();
    until("the neighbour writes on", GUEST, || async {
        let log = world.log("neighbour").await;
        (log.matches("TINY-OK").count() > said).then_some(())
    })
    .await;
    for name in ["filler", "neighbour"] {
        arm.done("DELETE", &world.machine(name), VERSION, None)
            .await;
    }
    let mut server = world.server;
    assert!(server.stop());
    let checked = server.vitrine(&["fsck"]);
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}
