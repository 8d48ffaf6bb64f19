//! The emulator's command line: nothing but what the description names.
//!
//! Paths are relative to the machine's `run` directory, which is the process's working directory:
//! they fit into a socket's address, and its user needs no way through the directories above.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::accelerator::Accelerator;
use crate::firmware::FirmwareFiles;
use crate::spec::{Disk, Firmware, Forward, Nic, Place, Protocol, Spec};

/// The monitor's socket.
pub(crate) const QMP_SOCKET: &str = "qmp.sock";
/// The TPM's socket.
pub(crate) const TPM_SOCKET: &str = "tpm.sock";
/// The socket of the agent in the guest.
pub(crate) const AGENT_SOCKET: &str = "agent.sock";
/// The port's device, as events name it.
pub(crate) const AGENT_PORT: &str = "agent-port";
/// The machine's UEFI variables.
pub(crate) const VARIABLES: &str = "nvram.fd";
/// The provisioning disc.
pub(crate) const SEED: &str = "seed.iso";

/// How long a request of the guest waits for a server that is away, before the guest sees an error.
const RECONNECT_SECONDS: u32 = 3600;
/// Translated code of one machine.
const TRANSLATION_MIB: u32 = 256;

/// What does not follow from the description.
pub(crate) struct Surroundings<'a> {
    pub accelerator: Accelerator,
    /// The processor's model; the accelerator's default without it.
    pub cpu: Option<&'a str>,
    /// The files of UEFI firmware.
    pub firmware: Option<&'a FirmwareFiles>,
    /// Whether there is a provisioning disc.
    pub has_seed: bool,
}

/// Returns the arguments of `qemu-system-x86_64`.
pub(crate) fn arguments(spec: &Spec, around: &Surroundings) -> Vec<String> {
    let mut words = Words::default();
    words.add("-name", format!("guest={},debug-threads=on", spec.name));
    words.add("-uuid", spec.id.to_string());
    words.flag("-nodefaults");
    words.flag("-no-user-config");
    words.add(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    // A guest that has shut down stays until somebody has seen it: a server that was away learns why.
    words.add("-action", "reboot=reset,shutdown=pause");
    machine(&mut words, spec, around);
    words.add("-display", "none");
    words.add(
        "-chardev",
        format!("socket,id=qmp,path={QMP_SOCKET},server=on,wait=off"),
    );
    words.add("-mon", "chardev=qmp,mode=control");
    words.add(
        "-chardev",
        format!("file,id=serial0,path={},append=on", crate::serial::LOG),
    );
    words.add("-device", "isa-serial,chardev=serial0");
    agent(&mut words);
    words.add("-object", "rng-random,id=rng0,filename=/dev/urandom");
    words.add(
        "-device",
        "virtio-rng-pci,rng=rng0,max-bytes=65536,period=1000,addr=0x2",
    );
    words.add("-device", "virtio-scsi-pci,id=scsi0,addr=0x3");
    for disk in &spec.disks {
        for node in nodes(disk) {
            words.add("-blockdev", node.to_string());
        }
        words.add("-device", device_words(disk));
    }
    if around.has_seed {
        seed(&mut words);
    }
    for (number, nic) in spec.nics.iter().enumerate() {
        words.add("-netdev", netdev(number, nic));
        words.add(
            "-device",
            format!(
                "virtio-net-pci,netdev=net{number},mac={},romfile=,addr=0x{:x}",
                nic.mac_text(),
                0x10 + number
            ),
        );
    }
    if spec.has_tpm {
        words.add("-chardev", format!("socket,id=tpm,path={TPM_SOCKET}"));
        words.add("-tpmdev", "emulator,id=tpm0,chardev=tpm");
        words.add("-device", "tpm-crb,tpmdev=tpm0");
    }
    words.0
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

fn machine(words: &mut Words, spec: &Spec, around: &Surroundings) {
    let mut machine = "q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off,graphics=off,\
                       dump-guest-core=off"
        .to_owned();
    if let Some(files) = around.firmware {
        machine.push_str(",pflash0=code,pflash1=variables");
        words.add(
            "-blockdev",
            json!({"driver": "file", "node-name": "code-file", "filename": files.code,
                   "read-only": true})
            .to_string(),
        );
        words.add(
            "-blockdev",
            json!({"driver": "raw", "node-name": "code", "file": "code-file", "read-only": true})
                .to_string(),
        );
        words.add(
            "-blockdev",
            json!({"driver": "file", "node-name": "variables-file", "filename": VARIABLES})
                .to_string(),
        );
        words.add(
            "-blockdev",
            json!({"driver": "raw", "node-name": "variables", "file": "variables-file"})
                .to_string(),
        );
    }
    if spec.firmware == Firmware::UefiSecure {
        // The variables may be changed from system management mode alone.
        machine.push_str(",smm=on");
        words.add("-global", "driver=cfi.pflash01,property=secure,value=on");
        words.add("-global", "ICH9-LPC.disable_s3=1");
    }
    words.add("-machine", machine);
    let (accelerator, cpu) = match around.accelerator {
        Accelerator::Kvm => ("kvm".to_owned(), "host"),
        Accelerator::Tcg => (format!("tcg,thread=multi,tb-size={TRANSLATION_MIB}"), "max"),
    };
    words.add("-accel", accelerator);
    words.add("-cpu", around.cpu.unwrap_or(cpu));
    words.add("-smp", spec.vcpus.to_string());
    words.add("-m", format!("{}M", spec.memory_mib));
    words.add("-boot", "strict=on");
}

/// The port that an agent in the guest opens: nothing is asked of it while it is closed.
fn agent(words: &mut Words) {
    words.add(
        "-chardev",
        format!("socket,id=agent,path={AGENT_SOCKET},server=on,wait=off"),
    );
    words.add(
        "-device",
        "virtio-serial-pci,id=agent-bus,max_ports=2,addr=0x6",
    );
    words.add(
        "-device",
        format!("virtserialport,id={AGENT_PORT},bus=agent-bus.0,chardev=agent,name=org.qemu.guest_agent.0"),
    );
}

fn seed(words: &mut Words) {
    words.add(
        "-blockdev",
        json!({"driver": "file", "node-name": "seed-file", "filename": SEED, "read-only": true})
            .to_string(),
    );
    words.add(
        "-blockdev",
        json!({"driver": "raw", "node-name": "seed", "file": "seed-file", "read-only": true})
            .to_string(),
    );
    words.add(
        "-device",
        "virtio-blk-pci,id=disk-seed,drive=seed,serial=seed,addr=0x5",
    );
}

fn netdev(number: usize, nic: &Nic) -> String {
    let network = nic.network;
    let mut text = format!(
        "user,id=net{number},ipv6=off,net={}/{},host={},dns={},dhcpstart={},restrict={}",
        network.address,
        network.prefix,
        network.gateway,
        network.dns,
        network.guest,
        if nic.is_restricted { "on" } else { "off" }
    );
    for forward in &nic.forwards {
        text.push_str(",hostfwd=");
        text.push_str(&forward_words(forward, network.guest));
    }
    text
}

/// Returns what names a forwarded port's near end, as the network and the monitor take it.
pub(crate) fn forward_host(forward: &Forward) -> String {
    let protocol = match forward.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{protocol}:{}:{}", forward.host.ip(), forward.host.port())
}

/// Returns a forwarded port, near end and far end.
pub(crate) fn forward_words(forward: &Forward, guest: Ipv4Addr) -> String {
    format!("{}-{guest}:{}", forward_host(forward), forward.guest_port)
}

/// Returns the name of a disk's node; its NBD node and its device are called after it.
pub(crate) fn node_name(place: Place) -> String {
    match place {
        Place::Os => "os".to_owned(),
        Place::Lun(lun) => format!("lun{lun}"),
    }
}

/// Returns the id of a disk's device.
pub(crate) fn device_name(place: Place) -> String {
    format!("disk-{}", node_name(place))
}

/// Returns the nodes of a disk, in the order in which one needs the other.
///
/// The format is named: what a guest writes at the start of its disk is never taken for one.
pub(crate) fn nodes(disk: &Disk) -> [Value; 2] {
    let name = node_name(disk.place);
    let server = format!("{name}-nbd");
    [
        json!({
            "driver": "nbd",
            "node-name": server,
            "server": {"type": "unix", "path": disk.socket},
            "export": disk.export,
            "reconnect-delay": RECONNECT_SECONDS,
            "read-only": disk.is_read_only,
            "discard": "unmap",
        }),
        json!({
            "driver": "raw",
            "node-name": name,
            "file": server,
            "read-only": disk.is_read_only,
            "discard": "unmap",
        }),
    ]
}

/// Returns what makes a disk's node visible to the guest, as `device_add` takes it.
pub(crate) fn device(disk: &Disk) -> Value {
    let mut device = match disk.place {
        Place::Os => json!({"driver": "virtio-blk-pci", "addr": "0x4", "bootindex": 0}),
        Place::Lun(lun) => {
            json!({"driver": "scsi-hd", "bus": "scsi0.0", "scsi-id": 0, "lun": lun})
        }
    };
    device["id"] = json!(device_name(disk.place));
    device["drive"] = json!(node_name(disk.place));
    device["serial"] = json!(disk.serial);
    // A full or broken store is the guest's error: it must not stop the machine.
    device["werror"] = json!("report");
    device["rerror"] = json!("report");
    device
}

/// The same as an argument. Every value is a word of ours or a checked serial number.
fn device_words(disk: &Disk) -> String {
    let device = device(disk);
    let fields = device.as_object().into_iter().flatten();
    let words: Vec<String> = fields
        .map(|(name, value)| match (name.as_str(), value) {
            ("driver", Value::String(text)) => text.clone(),
            (name, Value::String(text)) => format!("{name}={text}"),
            (name, value) => format!("{name}={value}"),
        })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests;
