//! Real machines: what QEMU, its firmware and a guest do with what this crate asks.
#![expect(
    clippy::disallowed_methods,
    reason = "kills the emulator and the parent of one"
)]

mod common;

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, GUEST, disk, is_alive, is_left, says, spec};
use vm::seed::{Account, Provisioning};
use vm::{
    Adopted, Firmware, Forward, GuestCommand, Host, Kind, Machine, Network, Nic, Place, Protocol,
    Reason, Settings, Status,
};

const MIB: u64 = 1 << 20;

fn seed(user_data: &str) -> Vec<u8> {
    vm::seed::disc(&Provisioning {
        instance_id: "one".to_owned(),
        host_name: "tiny-host".to_owned(),
        user: Account {
            name: "azureuser".to_owned(),
            keys: Vec::new(),
            password_hash: None,
        },
        custom_data: None,
        user_data: Some(user_data.as_bytes().to_vec()),
        interfaces: Vec::new(),
    })
    .expect("a disc")
}

async fn adopted(host: &Host, bench: &Bench) -> Machine {
    match host.adopt(&bench.dir()).await.expect("adopted") {
        Adopted::Running(machine) => machine,
        Adopted::Ended(end) => panic!("it has ended: {end}"),
        Adopted::Absent => panic!("there is nothing"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_over_nbd_and_sees_disks_come_and_go_and_the_server_restart() {
    let mut bench = Bench::new().await;
    bench.bootable("os");
    bench.empty("five", 5 * MIB);
    bench.empty("nine", 9 * MIB);
    bench.serve().await;
    let disks = vec![disk(Place::Os, "os"), disk(Place::Lun(5), "five")];
    let begin = Instant::now();
    let machine = bench
        .host
        .start(spec(disks), &bench.dir(), Some(seed("note=first\n")))
        .await
        .expect("started");
    println!("running after {:?}", begin.elapsed());
    let log = says(&machine, "TINY-READY tiny 1.0.0", 1).await;
    println!("ready after {:?}", begin.elapsed());
    for line in [
        "TINY-HOST tiny-host",
        "TINY-WROTE first",
        "TINY-DISK sda 5242880",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }

    // Nothing in this guest opens the agent's port.
    let command = GuestCommand {
        path: "/bin/busybox".to_owned(),
        arguments: Vec::new(),
        environment: Vec::new(),
        input: Vec::new(),
    };
    let refused = machine.exec(&command).await.expect_err("no agent");
    assert_eq!((refused.kind(), machine.agent()), (Kind::NoAgent, None));

    machine
        .attach(disk(Place::Lun(9), "nine"))
        .await
        .expect("attached");
    machine
        .attach(disk(Place::Lun(9), "nine"))
        .await
        .expect("attached already");
    let other = machine.attach(disk(Place::Lun(9), "five")).await;
    assert_eq!(other.expect_err("taken").kind(), Kind::Conflict);
    bench.is_read("nine").await;
    machine.detach(9).await.expect("detached");
    machine.detach(9).await.expect("detached already");
    let places: Vec<Place> = machine
        .disks()
        .await
        .iter()
        .map(|disk| disk.place)
        .collect();
    assert_eq!(places, [Place::Os, Place::Lun(5)]);

    // What the guest has synced is there after a reset, read and written through a new server.
    bench.stop_serving().await;
    machine.reset().await.expect("reset");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(machine.status(), Status::Running);
    bench.serve().await;
    says(&machine, "TINY-NOTE first", 1).await;
    says(&machine, "TINY-WROTE first", 2).await;
    says(&machine, "TINY-READY tiny 1.0.0", 2).await;

    let end = machine.power_off(GUEST).await.expect("off");
    assert_eq!(end.reason, Reason::PoweredOff, "{end}");
    says(&machine, "TINY-BUTTON", 1).await;
    assert!(!is_left(&bench).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_outlives_its_parent_and_is_adopted() {
    let mut bench = Bench::new().await;
    bench.bootable("os");
    bench.empty("one", MIB);
    bench.serve().await;
    // The parent is another process, which starts the machine and dies.
    let program = std::env::current_exe().expect("this program");
    let dir = bench.dir();
    let parent = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .args(["--exact", "parent", "--ignored", "--nocapture"])
            .env("VM_TEST_DIR", dir)
            .output()
    });
    let parent = parent.await.expect("joined").expect("run");
    assert!(!parent.status.success(), "it aborts");

    let machine = adopted(&bench.host, &bench).await;
    assert!(is_alive(machine.pid()));
    let twice = bench
        .host
        .start(spec(vec![disk(Place::Os, "os")]), &bench.dir(), None)
        .await;
    assert_eq!(twice.err().map(|error| error.kind()), Some(Kind::Conflict));
    machine
        .attach(disk(Place::Lun(0), "one"))
        .await
        .expect("attached");
    // Let go and adopted once more, it is the same machine with the same disks.
    let pid = machine.pid();
    drop(machine);
    let machine = adopted(&bench.host, &bench).await;
    assert_eq!(machine.pid(), pid);
    assert_eq!(machine.disks().await.len(), 2);
    let end = machine.power_off(GUEST).await.expect("off");
    assert_eq!(end.reason, Reason::PoweredOff, "{end}");
    assert!(!is_left(&bench).await);
    let Adopted::Ended(again) = bench.host.adopt(&bench.dir()).await.expect("read") else {
        panic!("it has ended");
    };
    assert_eq!(again, end);
}

#[test]
#[ignore = "run by a_machine_outlives_its_parent_and_is_adopted"]
fn parent() {
    let dir = std::env::var_os("VM_TEST_DIR").expect("the directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let host = Host::find(Settings {
            accelerator: vm::Choice::Tcg,
            ..Settings::default()
        })
        .await
        .expect("QEMU is installed");
        let spec = spec(vec![disk(Place::Os, "os")]);
        let _machine = host.start(spec, dir.as_ref(), None).await.expect("started");
        std::process::abort();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_emulator_is_seen_with_its_reason() {
    let mut bench = Bench::new().await;
    bench.empty("os", MIB);
    bench.serve().await;
    let spec = spec(vec![disk(Place::Os, "os")]);
    let machine = bench.started(&spec).await;
    let kill = |signal: &str| {
        let pid = machine.pid().to_string();
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill")
    };
    assert!(kill("-KILL").success());
    let end = machine.ended().await;
    assert_eq!(end.reason, Reason::Killed { signal: 9 });
    assert_eq!(end.to_string(), "the emulator was killed by signal 9");
    assert_eq!(machine.status(), Status::Ended(end.clone()));
    let refused = machine.reset().await.expect_err("it has ended");
    assert_eq!(refused.kind(), Kind::NotRunning);
    let Adopted::Ended(again) = bench.host.adopt(&bench.dir()).await.expect("read") else {
        panic!("it has ended");
    };
    assert_eq!(again, end);

    // The same directory again; the server that sees it end is not the one that started it.
    for (signal, reason) in [("-TERM", Reason::Terminated), ("-KILL", Reason::Died)] {
        let started = bench.host.start(spec.clone(), &bench.dir(), None).await;
        drop(started.expect("started again"));
        let machine = adopted(&bench.host, &bench).await;
        let pid = machine.pid().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status();
        assert!(kill.expect("kill").success());
        assert_eq!(machine.ended().await.reason, reason);
    }
    assert!(!is_left(&bench).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_stops_at_once_even_when_its_server_is_away() {
    let mut bench = Bench::new().await;
    bench.bootable("os");
    bench.serve().await;
    let spec = spec(vec![disk(Place::Os, "os")]);
    let machine = bench.started(&spec).await;
    says(&machine, "SeaBIOS", 1).await;
    bench.stop_serving().await;
    let begin = Instant::now();
    let end = machine.stop().await.expect("stopped");
    assert_eq!(end.reason, Reason::Stopped);
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(!is_left(&bench).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn secure_boot_comes_up_with_a_tpm_and_leaves_nothing_running() {
    let mut bench = Bench::new().await;
    bench.bootable("os");
    bench.serve().await;
    let mut spec = spec(vec![disk(Place::Os, "os")]);
    spec.firmware = Firmware::UefiSecure;
    spec.has_tpm = true;
    let machine = bench.started(&spec).await;
    // The loader of this guest is not signed by anybody.
    says(&machine, "Access Denied", 1).await;
    let found = vm::leftovers(&bench.root()).expect("a list");
    assert_eq!(found[0].processes.len(), 2, "{found:?}");
    machine.stop().await.expect("stopped");
    assert!(!is_left(&bench).await);
    let state = bench.dir().join("run/tpm/tpm2-00.permall");
    assert!(state.is_file(), "the TPM keeps its state");
}

#[tokio::test(flavor = "multi_thread")]
async fn uefi_boots_the_same_guest() {
    let mut bench = Bench::new().await;
    bench.bootable("os");
    bench.serve().await;
    let mut spec = spec(vec![disk(Place::Os, "os")]);
    spec.firmware = Firmware::Uefi;
    let machine = bench.started(&spec).await;
    says(&machine, "TINY-READY tiny 1.0.0", 1).await;
    machine.stop().await.expect("stopped");
}

fn nic(port: u16) -> Nic {
    Nic {
        mac: [0, 0x0d, 0x3a, 1, 2, 3],
        network: Network {
            address: [10, 1, 2, 0].into(),
            prefix: 24,
            gateway: [10, 1, 2, 1].into(),
            dns: [10, 1, 2, 3].into(),
            guest: [10, 1, 2, 4].into(),
        },
        is_restricted: true,
        forwards: vec![forward(port)],
    }
}

fn forward(port: u16) -> Forward {
    Forward {
        protocol: Protocol::Tcp,
        host: SocketAddrV4::new([127, 77, 0, 9].into(), port),
        guest_port: 22,
    }
}

fn is_open(port: u16) -> bool {
    std::net::TcpStream::connect(forward(port).host).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_as_the_latest_call_says() {
    let mut bench = Bench::new().await;
    bench.empty("os", MIB);
    bench.serve().await;
    // Below 1024 where this process may: an unprivileged emulator listens there all the same.
    let low = if rustix::process::geteuid().is_root() {
        22
    } else {
        45022
    };
    let mut spec = spec(vec![disk(Place::Os, "os")]);
    spec.nics.push(nic(low));
    let machine = bench.started(&spec).await;
    assert!(is_open(low));
    machine
        .forward(vec![vec![forward(45023), forward(45024)]])
        .await
        .expect("forwarded");
    assert_eq!([low, 45023, 45024].map(is_open), [false, true, true]);
    machine
        .forward(vec![vec![forward(45024), forward(low)]])
        .await
        .expect("forwarded");
    assert_eq!([low, 45023, 45024].map(is_open), [true, false, true]);
    let taken = std::net::TcpListener::bind(forward(45025).host).expect("free");
    let error = machine
        .forward(vec![vec![forward(45025)]])
        .await
        .expect_err("taken");
    assert!(error.to_string().contains("hostfwd_add"), "{error}");
    drop(taken);
    machine
        .forward(vec![vec![forward(45025)]])
        .await
        .expect("forwarded");
    assert_eq!([low, 45024, 45025].map(is_open), [false, false, true]);
    machine.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_run_as_users_of_their_own_with_limits_of_their_own() {
    use std::os::unix::fs::MetadataExt as _;

    let mut bench = Bench::new().await;
    // What a handed-over control group looks like; the kernel's own cannot be had everywhere.
    let group = bench.home.path().join("group");
    std::fs::create_dir(&group).expect("made");
    std::fs::write(group.join("cgroup.controllers"), "cpu memory pids\n").expect("written");
    let settings = Settings {
        accelerator: vm::Choice::Tcg,
        cgroup: Some(group.clone()),
        ..Settings::default()
    };
    bench.host = Host::find(settings).await.expect("QEMU is installed");
    bench.empty("os", MIB);
    bench.serve().await;
    let described = spec(vec![disk(Place::Os, "os")]);
    let one = bench.started(&described).await;
    let owner = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let of = |name: &str| -> u32 {
            let line = status.lines().find(|line| line.starts_with(name));
            let id = line.and_then(|line| line.split_whitespace().nth(2));
            id.and_then(|id| id.parse().ok()).expect("a number")
        };
        (of("Uid:"), of("Gid:"))
    };
    // Another machine beside it, whose disk is served in its own directory.
    let other = bench.root().join("two");
    let directory = bench.host.claim(&other).expect("made");
    let reach = directory.reach().expect("open");
    let listener = tokio::net::UnixListener::bind(reach.path("nbd.sock")).expect("listening");
    directory.give("nbd.sock").expect("given");
    let run = |name: &str| {
        let path = bench.root().join(name).join("run");
        path.symlink_metadata().expect("there")
    };
    let me = std::fs::metadata("/proc/self").expect("there");
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = owner(one.pid());
        assert_eq!((uid, gid), (run("one").uid(), run("one").gid()));
        assert_ne!(uid, 0);
        assert_ne!(uid, run("two").uid(), "each is a user of its own");
        assert_eq!(
            run("one").mode() & 0o077,
            0,
            "and keeps its directory to itself"
        );
    } else {
        assert_eq!(owner(one.pid()), (me.uid(), me.gid()));
        assert_eq!(run("two").uid(), me.uid());
    }
    drop(listener);

    let limited = group.join(format!("vitrine-{}", described.id));
    for (file, holds) in [
        ("memory.max", ((256_u64 + 1024) << 20).to_string()),
        ("cpu.max", "200000 100000".to_owned()),
        ("pids.max", "129".to_owned()),
        ("cgroup.procs", one.pid().to_string()),
    ] {
        let found = std::fs::read_to_string(limited.join(file)).expect("written");
        assert_eq!(found, holds, "{file}");
    }
    // The kernel's files go with their directory; these are plain ones.
    for file in std::fs::read_dir(&limited).expect("listed") {
        std::fs::remove_file(file.expect("there").path()).expect("removed");
    }
    one.stop().await.expect("stopped");
    assert!(!limited.exists(), "it goes with its machine");
    assert!(!is_left(&bench).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why_and_leaves_no_process() {
    let bench = Bench::new().await;
    let spec = spec(vec![disk(Place::Os, "os")]);
    let error = bench
        .host
        .start(spec, &bench.dir(), None)
        .await
        .err()
        .expect("no server");
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("nbd.sock"), "{error}");
    assert!(!is_left(&bench).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_found_without_a_record_and_cleaned() {
    let mut bench = Bench::new().await;
    bench.empty("os", MIB);
    bench.serve().await;
    let spec = spec(vec![disk(Place::Os, "os")]);
    let machine = bench.started(&spec).await;
    let pid = machine.pid();
    drop(machine);
    let found = vm::leftovers(&bench.root()).expect("a list");
    assert_eq!(found[0].id, Some(spec.id));
    assert_eq!(found[0].processes, [pid]);
    // As if the server had died between the start and the record of it.
    std::fs::remove_file(bench.dir().join("machine.json")).expect("removed");
    let found = vm::leftovers(&bench.root()).expect("a list");
    assert_eq!((found[0].id, &found[0].processes[..]), (None, &[pid][..]));
    vm::clean(&bench.dir()).await.expect("cleaned");
    assert!(!is_alive(pid));
    assert!(!bench.dir().exists());
    assert_eq!(vm::leftovers(&bench.root()).expect("a list"), []);
    vm::clean(&bench.dir()).await.expect("clean already");
}
