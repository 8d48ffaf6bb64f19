use super::{Surroundings, arguments, device, nodes};
use crate::accelerator::Accelerator;
use crate::firmware::FirmwareFiles;
use crate::sandbox::{Allowance, Programs, User, wrap};
use crate::spec::tests::{disk, spec};
use crate::spec::{Firmware, Place};

/// One argument with its value a line.
fn shown(words: &[String]) -> String {
    words
        .join("\n")
        .replace("\n-", "\n\n-")
        .replace('\n', " ")
        .replace("  ", "\n")
}

#[test]
fn a_machine_is_what_its_description_names_and_no_more() {
    let around = Surroundings {
        accelerator: Accelerator::Tcg,
        cpu: None,
        firmware: None,
        has_seed: true,
    };
    insta::assert_snapshot!("bios", shown(&arguments(&spec(), &around)));

    let mut spec = spec();
    spec.firmware = Firmware::UefiSecure;
    spec.has_tpm = true;
    spec.nics.clear();
    spec.disks[1].is_read_only = true;
    let files = FirmwareFiles {
        code: "/usr/share/OVMF/CODE.fd".into(),
        variables: "/usr/share/OVMF/VARS.fd".into(),
    };
    let around = Surroundings {
        accelerator: Accelerator::Kvm,
        cpu: Some("EPYC"),
        firmware: Some(&files),
        has_seed: false,
    };
    insta::assert_snapshot!("secure", shown(&arguments(&spec, &around)));
}

#[test]
fn a_disk_is_raw_over_nbd_whatever_it_is_called() {
    let mut hostile = disk(Place::Lun(3));
    hostile.export = "x\",\"driver\":\"qcow2,file=/etc/passwd".to_owned();
    hostile.socket = "a,b=\"c\".sock".into();
    let [server, format] = nodes(&hostile);
    assert_eq!(server["driver"], "nbd");
    assert_eq!(server["export"], hostile.export);
    assert_eq!(server["server"]["path"], "a,b=\"c\".sock");
    assert_eq!(format["driver"], "raw");
    assert_eq!(format["file"], "lun3-nbd");
    assert_eq!(device(&hostile)["lun"], 3);
}

#[test]
fn an_emulator_has_nothing_that_it_does_not_need() {
    let programs = Programs {
        qemu: "/usr/bin/qemu-system-x86_64".into(),
        swtpm: None,
        env: "/usr/bin/env".into(),
        setsid: "/usr/bin/setsid".into(),
        prlimit: "/usr/bin/prlimit".into(),
        setpriv: "/usr/bin/setpriv".into(),
    };
    let wrapped = |user, has_low_ports| {
        let allowance = Allowance {
            user,
            memory_mib: 1024,
            has_low_ports,
            has_kvm: false,
        };
        let words = wrap(&programs, allowance, &programs.qemu, &["-S".to_owned()]);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    };
    let user = Some(User { uid: 99, gid: 98 });
    let limits = "/usr/bin/setsid /usr/bin/env --ignore-signal=XFSZ /usr/bin/prlimit --core=0 \
                  --fsize=16777216 --nofile=4096 --as=7516192768 /usr/bin/setpriv";
    let nobody = "--reuid=99 --regid=98 --clear-groups";
    let end = "--no-new-privs /usr/bin/qemu-system-x86_64 -S";
    for (user, has_low_ports, between) in [
        (None, false, String::new()),
        (
            user,
            false,
            format!("{nobody} --bounding-set=-all --inh-caps=-all --ambient-caps=-all "),
        ),
        (
            user,
            true,
            format!(
                "{nobody} --bounding-set=-all,+net_bind_service \
                 --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service "
            ),
        ),
    ] {
        assert_eq!(
            wrapped(user, has_low_ports),
            format!("{limits} {between}{end}")
        );
    }
}
