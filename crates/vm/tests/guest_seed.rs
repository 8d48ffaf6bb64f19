//! The provisioning disc as another program reads it.
#![expect(clippy::disallowed_methods, reason = "runs isoinfo")]

use std::process::Command;

use vm::seed::{Account, Provisioning, disc};

#[test]
fn isoinfo_reads_label_names_and_content() {
    let image = disc(&Provisioning {
        instance_id: "one".to_owned(),
        host_name: "web-1".to_owned(),
        user: Account {
            name: "azureuser".to_owned(),
            keys: Vec::new(),
            password_hash: None,
        },
        custom_data: Some(b"#!/bin/sh\necho custom\n".to_vec()),
        user_data: None,
        interfaces: Vec::new(),
    })
    .expect("a disc");
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("seed.iso");
    std::fs::write(&path, image).expect("written");
    let isoinfo = |arguments: &[&str]| {
        let mut command = Command::new("isoinfo");
        let out = command
            .arg("-i")
            .arg(&path)
            .args(arguments)
            .output()
            .expect("isoinfo");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).expect("text")
    };
    let volume = isoinfo(&["-d"]);
    assert!(volume.contains("Volume id: cidata"), "{volume}");
    assert!(volume.contains("Joliet with UCS level 3 found"), "{volume}");
    for tree in [&["-f"][..], &["-J", "-f"]] {
        let listed = isoinfo(tree);
        for name in [
            "/meta-data",
            "/network-config",
            "/ovf-env.xml",
            "/user-data",
            "/vendor-data",
        ] {
            assert!(
                listed.lines().any(|line| line == name),
                "{name} in {listed}"
            );
        }
    }
    assert_eq!(
        isoinfo(&["-J", "-x", "/user-data"]),
        "#!/bin/sh\necho custom\n"
    );
}
