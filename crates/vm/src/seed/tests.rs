use super::{Account, Interface, LABEL, Provisioning, disc, iso9660, meta, network, vendor};
use serde_json::json;

fn provisioning() -> Provisioning {
    Provisioning {
        instance_id: "6f1f6a52-7469-4e79-8d79-74696e790001".to_owned(),
        host_name: "web-1".to_owned(),
        user: Account {
            name: "azureuser".to_owned(),
            keys: vec!["ssh-ed25519 AAAA me@here\n".to_owned()],
            password_hash: None,
        },
        custom_data: None,
        user_data: None,
        interfaces: vec![Interface {
            mac: [0, 0x0d, 0x3a, 1, 2, 3],
            address: [10, 0, 0, 4].into(),
        }],
    }
}

/// Reads a file back by the primary or the Joliet tree, as a driver would.
fn file(image: &[u8], is_joliet: bool, name: &str) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let bytes: [u8; 4] = image[at..at + 4].try_into().expect("four bytes");
        usize::try_from(u32::from_le_bytes(bytes)).expect("small")
    };
    let descriptor = if is_joliet { 17 } else { 16 } * 2048;
    assert_eq!(&image[descriptor + 1..descriptor + 6], b"CD001");
    let (mut at, length) = (number(descriptor + 158) * 2048, number(descriptor + 166));
    let end = at + length;
    while at < end && image[at] != 0 {
        let raw = &image[at + 33..][..usize::from(image[at + 32])];
        let shown = if is_joliet {
            let units = raw
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            String::from_utf16(&units.collect::<Vec<_>>()).unwrap_or_default()
        } else {
            String::from_utf8(raw.to_vec()).expect("text")
        };
        if shown == name {
            return Some(image[number(at + 2) * 2048..][..number(at + 10)].to_vec());
        }
        at += usize::from(image[at]);
    }
    None
}

#[test]
fn custom_data_is_the_guests_user_data_byte_for_byte() {
    let script: &[u8] = b"#!/bin/sh\necho \xff\x00\n";
    for (custom_data, user_data, read) in [
        (Some(script), Some(&b"other"[..]), script),
        (None, Some(script), script),
        (Some(&b""[..]), Some(script), script),
        (None, None, b"#cloud-config\n{}\n"),
    ] {
        let image = disc(&Provisioning {
            custom_data: custom_data.map(<[u8]>::to_vec),
            user_data: user_data.map(<[u8]>::to_vec),
            ..provisioning()
        })
        .expect("a disc");
        for is_joliet in [false, true] {
            let found = file(&image, is_joliet, "user-data").expect("there");
            assert_eq!(found, read, "{is_joliet}");
        }
    }
}

#[test]
fn a_disc_is_the_same_for_the_same_machine() {
    let image = disc(&provisioning()).expect("a disc");
    assert_eq!(image, disc(&provisioning()).expect("a disc"));
    assert_eq!(image.len() % 2048, 0);
    assert_eq!(&image[16 * 2048 + 40..][..6], LABEL.as_bytes());
    for name in ["meta-data", "network-config", "ovf-env.xml", "vendor-data"] {
        assert!(file(&image, false, name).is_some(), "{name}");
        assert_eq!(file(&image, false, name), file(&image, true, name));
    }
    assert_eq!(file(&image, false, "none"), None);
}

#[test]
fn cloud_init_is_told_the_name_the_keys_and_the_user() {
    let with_keys = provisioning();
    assert_eq!(
        meta(&with_keys),
        "instance-id: \"6f1f6a52-7469-4e79-8d79-74696e790001\"\n\
         local-hostname: \"web-1\"\n\
         public-keys: [\"ssh-ed25519 AAAA me@here\"]\n"
    );
    assert_eq!(vendor(&with_keys.user)["ssh_pwauth"], json!(false));
    assert_eq!(vendor(&with_keys.user)["user"]["lock_passwd"], json!(true));
    let mut with_password = provisioning();
    with_password.user.password_hash = Some("$6$x$y".to_owned());
    let told = vendor(&with_password.user);
    assert_eq!(told["ssh_pwauth"], json!(true));
    assert_eq!(told["user"]["name"], json!("azureuser"));
    assert_eq!(told["user"]["lock_passwd"], json!(false));
    assert_eq!(told["user"]["hashed_passwd"], json!("$6$x$y"));
    let told = network(&with_keys.interfaces);
    assert_eq!(
        told["ethernets"]["eth0"]["match"]["macaddress"],
        json!("00:0d:3a:01:02:03")
    );
}

#[test]
fn what_is_in_a_name_stays_in_its_place() {
    let mut hostile = provisioning();
    hostile.host_name = "a\"}, \"x\" {</HostName><CustomData>&".to_owned();
    let image = disc(&hostile).expect("a disc");
    let told = String::from_utf8(file(&image, false, "meta-data").expect("there")).expect("text");
    let quoted = serde_json::Value::from(hostile.host_name.clone()).to_string();
    assert_eq!(
        told.lines().nth(1),
        Some(&*format!("local-hostname: {quoted}"))
    );
    let xml = String::from_utf8(file(&image, false, "ovf-env.xml").expect("there")).expect("text");
    assert!(!xml.contains("<CustomData>"), "{xml}");
    for (host, user) in [("", "u"), ("h\nx", "u"), ("h", "u:x"), ("h", "")] {
        let mut refused = provisioning();
        refused.host_name = host.to_owned();
        refused.user.name = user.to_owned();
        assert!(disc(&refused).is_err(), "{host:?} {user:?}");
    }
}

#[test]
fn data_beyond_the_limit_is_refused() {
    let mut large = provisioning();
    large.custom_data = Some(vec![0; super::DATA_BYTES_MAX]);
    assert!(disc(&large).is_ok());
    large.custom_data = Some(vec![0; super::DATA_BYTES_MAX + 1]);
    assert!(disc(&large).is_err());
    let name = "x".repeat(65);
    assert!(iso9660::image("l", &[(&name, b"")]).is_err());
    assert!(iso9660::image("a label that is far too long for it", &[]).is_err());
}
