//! What versions and disks are made from: hostile images (threats 1 to 7) and hostile URLs (8).

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{Answer, DISK, DISK_BYTES, GALLERY, Who, World, page};

const ACCOUNT: &str = "hostileacct";

struct Lab {
    world: World,
    owner: Who,
    group: String,
    gallery: String,
    account: String,
    count: std::cell::Cell<u32>,
}

impl Lab {
    async fn new() -> Self {
        let world = World::new().await;
        let owner = world.owner.clone();
        let group = world.group(&owner, "rg").await;
        let gallery = world.gallery(&owner, &group, None).await;
        let account = world.account(&owner, &group, ACCOUNT).await;
        Self {
            world,
            owner,
            group,
            gallery,
            account,
            count: std::cell::Cell::new(0),
        }
    }

    fn fresh(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    /// Makes a disk and a version of a URL; returns how each ended, and the ids.
    async fn make(&self, url: &str) -> [(Answer, Value, String); 2] {
        let number = self.fresh();
        let disk = format!("{}/providers/Microsoft.Compute/disks/d{number}", self.group);
        let version = format!("{}/images/debian/versions/1.0.{number}", self.gallery);
        let import =
            json!({ "createOption": "Import", "sourceUri": url, "storageAccountId": self.account });
        let import = json!({ "location": "eastus", "properties": { "creationData": import } });
        let source = json!({ "uri": url, "storageAccountId": self.account });
        let publish = json!({ "location": "eastus", "properties": { "storageProfile": { "osDiskImage": { "source": source } } } });
        let (a, b) = self.over(&disk, DISK, &import).await;
        let (c, d) = self.over(&version, GALLERY, &publish).await;
        [(a, b, disk), (c, d, version)]
    }

    async fn over(&self, path: &str, version: &str, body: &Value) -> (Answer, Value) {
        let owner = &self.owner;
        self.world
            .over(owner, "PUT", path, version, Some(body))
            .await
    }

    /// Nothing comes of these bytes, and what is said about them says nothing of this host.
    async fn refuses(&self, what: &str, bytes: &[u8]) {
        let name = format!("image{}", self.fresh());
        let url = self
            .world
            .page_blob(&self.owner, ACCOUNT, &name, bytes)
            .await;
        for (answer, status, path) in self.make(&url).await {
            let said = format!("{} {status}", answer.text());
            assert!(
                answer.status() >= 400 || status["status"] == "Failed",
                "{what} was taken: {path} {said}"
            );
            assert!(answer.status() < 500, "{what}: {said}");
            for secret in [
                "root:",
                "No such file",
                "Permission denied",
                "/tmp/",
                "panicked",
            ] {
                assert!(!said.contains(secret), "{what}: {said}");
            }
            let after = self
                .world
                .send(
                    &self.owner,
                    "GET",
                    &path,
                    if path.contains("/disks/") {
                        DISK
                    } else {
                        GALLERY
                    },
                    None,
                )
                .await;
            let state = after.body["properties"]["provisioningState"].as_str();
            assert!(
                matches!(state, None | Some("Failed")),
                "{what}: {}",
                after.text()
            );
        }
    }
}

/// A qcow2 header; `backing` is a name of another file, `bits` are incompatible features.
fn qcow2(backing: &str, bits: u64) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    out[..4].copy_from_slice(b"QFI\xfb");
    out[4..8].copy_from_slice(&3_u32.to_be_bytes());
    if !backing.is_empty() {
        out[8..16].copy_from_slice(&0x200_u64.to_be_bytes());
        out[16..20].copy_from_slice(&u32::try_from(backing.len()).unwrap().to_be_bytes());
        out[0x200..0x200 + backing.len()].copy_from_slice(backing.as_bytes());
    }
    out[20..24].copy_from_slice(&16_u32.to_be_bytes());
    out[24..32].copy_from_slice(&(1_u64 << 20).to_be_bytes());
    out[72..80].copy_from_slice(&bits.to_be_bytes());
    out[96..100].copy_from_slice(&4_u32.to_be_bytes());
    out[100..104].copy_from_slice(&104_u32.to_be_bytes());
    out
}

/// A fixed VHD of the smallest size with a changed footer; the checksum is right unless `breaks` changes it.
fn vhd(change: impl Fn(&mut [u8; 512])) -> Vec<u8> {
    let mut footer: [u8; 512] = disk::vhd::footer(DISK_BYTES as u64, [7; 16], 0);
    change(&mut footer);
    let mut out = vec![0; DISK_BYTES];
    out[..4].copy_from_slice(b"data");
    out.extend(footer);
    out
}

fn sealed(footer: &mut [u8; 512], at: usize, bytes: &[u8]) {
    footer[at..at + bytes.len()].copy_from_slice(bytes);
    footer[64..68].fill(0);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
}

#[tokio::test]
async fn threat_01_qcow2_with_a_backing_file_is_refused_at_the_arm_door() {
    let lab = Lab::new().await;
    for name in [
        "/etc/passwd",
        "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}",
        "nbd://127.0.0.1:10809/x",
        "../../etc/passwd",
        &"a".repeat(1100),
    ] {
        lab.refuses(name, &qcow2(name, 0)).await;
    }
}

#[tokio::test]
async fn threat_02_qcow2_with_an_external_data_file_or_unknown_features_is_refused_at_the_arm_door()
{
    let lab = Lab::new().await;
    for bits in [4, 8, 16, 1 << 63, u64::MAX] {
        lab.refuses(&format!("bits {bits:x}"), &qcow2("", bits))
            .await;
    }
}

#[tokio::test]
async fn threat_03_vmdk_descriptors_that_name_files_are_refused_at_the_arm_door() {
    let lab = Lab::new().await;
    for extent in [
        "RW 2048 FLAT \"/etc/shadow\" 0",
        "RW 2048 VMFS \"../../../etc/shadow\"",
        "RW 2048 SPARSE \"other.vmdk\"",
    ] {
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n{extent}\n"
        );
        lab.refuses(extent, text.as_bytes()).await;
    }
}

#[tokio::test]
async fn threat_04_what_looks_like_another_format_inside_a_vhd_stays_bytes() {
    let lab = Lab::new().await;
    let header = &qcow2("/etc/passwd", 4)[..4096];
    let mut image = vhd(|_| {});
    image[..4096].copy_from_slice(header);
    let url = lab
        .world
        .page_blob(&lab.owner, ACCOUNT, "polyglot.vhd", &image)
        .await;
    let [(_, made, disk), (_, published, version)] = lab.make(&url).await;
    assert_eq!(made["status"], "Succeeded", "{made}");
    assert_eq!(published["status"], "Succeeded", "{published}");
    assert_eq!(lab.world.head_of(&lab.owner, &disk).await, header);
    // Captured again and deployed again, it is still what the guest wrote.
    let again = format!("{}/providers/Microsoft.Compute/disks/again", lab.group);
    let body = crate::world::disk_body("id", &version);
    lab.world
        .done(&lab.owner, "PUT", &again, DISK, Some(body))
        .await;
    assert_eq!(lab.world.head_of(&lab.owner, &again).await, header);
    let next = format!("{}/images/debian/versions/2.0.0", lab.gallery);
    let body = crate::world::version_body(&again);
    lab.world
        .done(&lab.owner, "PUT", &next, GALLERY, Some(body))
        .await;
    let last = again.replace("again", "last");
    let body = crate::world::disk_body("id", &next);
    lab.world
        .done(&lab.owner, "PUT", &last, DISK, Some(body))
        .await;
    assert_eq!(lab.world.head_of(&lab.owner, &last).await, header);
}

#[tokio::test]
async fn threat_05_dynamic_differencing_and_forged_vhds_are_refused_at_the_arm_door() {
    let lab = Lab::new().await;
    lab.refuses("dynamic", &vhd(|f| sealed(f, 60, &3_u32.to_be_bytes())))
        .await;
    lab.refuses(
        "differencing",
        &vhd(|f| sealed(f, 60, &4_u32.to_be_bytes())),
    )
    .await;
    lab.refuses(
        "size over the end",
        &vhd(|f| sealed(f, 48, &u64::MAX.to_be_bytes())),
    )
    .await;
    lab.refuses("size zero", &vhd(|f| sealed(f, 48, &0_u64.to_be_bytes())))
        .await;
    lab.refuses(
        "half the size",
        &vhd(|f| sealed(f, 48, &(DISK_BYTES as u64 / 2).to_be_bytes())),
    )
    .await;
    lab.refuses("checksum", &vhd(|f| f[64] ^= 1)).await;
    lab.refuses("cookie", &vhd(|f| sealed(f, 0, b"conectiy")))
        .await;
    lab.refuses("no footer", &page("data").repeat(DISK_BYTES / 4096))
        .await;
}

#[tokio::test]
async fn threat_06_bombs_cost_nothing_and_make_nothing() {
    let lab = Lab::new().await;
    // gzip, xz, zstd and zip are not unpacked.
    for magic in [
        &b"\x1f\x8b\x08\x00"[..],
        b"\xfd7zXZ\x00",
        b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04",
    ] {
        let mut bytes = vec![0; 1 << 20];
        bytes[..magic.len()].copy_from_slice(magic);
        lab.refuses("packed", &bytes).await;
    }
    // 64 TiB that take no place are more than a page blob may be.
    let length = (64_u64 << 40).to_string();
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", length.as_str()),
    ];
    let url = format!("{ACCOUNT}/images/huge");
    let answer = lab
        .world
        .blob(&lab.owner.blob_token, "PUT", &url, &headers, &[])
        .await;
    assert!((400..500).contains(&answer.status()), "{}", answer.text());
}

#[tokio::test]
async fn threat_07_a_sparse_terabyte_is_published_without_walking_it() {
    let lab = Lab::new().await;
    let size = 1_u64 << 40;
    let url = format!("https://localhost:8443/blob/{ACCOUNT}/images/sparse.vhd");
    let length = (size + 512).to_string();
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", length.as_str()),
    ];
    let token = &lab.owner.blob_token;
    lab.world
        .blob(token, "PUT", &url, &headers, &[])
        .await
        .expect(201, "");
    let range = format!("bytes={size}-{}", size + 511);
    let headers = [
        ("x-ms-page-write", "update"),
        ("x-ms-range", range.as_str()),
    ];
    let footer = disk::vhd::footer(size, [7; 16], 0);
    lab.world
        .blob(token, "PUT", &format!("{url}?comp=page"), &headers, &footer)
        .await
        .expect(201, "");
    let started = std::time::Instant::now();
    for (answer, status, path) in lab.make(&url).await {
        assert_eq!(
            status["status"],
            "Succeeded",
            "{path}: {} {status}",
            answer.text()
        );
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[tokio::test]
async fn threat_08_no_url_in_a_request_makes_the_server_connect_anywhere() {
    let lab = Lab::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tail = format!("blob/{ACCOUNT}/images/absent.vhd");
    let mut urls: Vec<String> = vec![
        "file:///etc/passwd".to_owned(),
        format!("gopher://127.0.0.1:{port}/x"),
        "https://metadata.google.internal/computeMetadata/v1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("https://localhost:{port}@evil.example/{tail}"),
        format!("https://evil.example#@127.0.0.1:{port}/{tail}"),
        format!("https://127.0.0.1:{port}\\@evil.example/{tail}"),
        format!("https://user:password@127.0.0.1:{port}/{tail}"),
    ];
    // A name that resolves here, one that would be rebound, and every spelling of the loopback address.
    for host in [
        "localhost",
        "localtest.me",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "１２７.０.０.１",
        "127.0.0.1.nip.io",
        "10.0.0.1",
        "[fd00::1]",
        "[fe80::1%25lo]",
    ] {
        for scheme in ["http", "https", "HTTPS"] {
            urls.push(format!(
                "{scheme}://{host}:{port}/redirect?to=http://169.254.169.254/"
            ));
            urls.push(format!("{scheme}://{host}:{port}/{tail}"));
        }
    }
    for url in &urls {
        for (answer, status, path) in lab.make(url).await {
            let said = format!("{path} of {url}: {} {status}", answer.text());
            assert!(
                answer.status() >= 400 || status["status"] == "Failed",
                "{said}"
            );
        }
    }
    other_doors(&lab, &urls).await;
    let met = tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept());
    assert!(met.await.is_err(), "the server followed a URL of a request");
}

/// Every other place that takes a URL: it is text there, or refused.
async fn other_doors(lab: &Lab, urls: &[String]) {
    let (world, owner) = (&lab.world, &lab.owner);
    for (number, url) in urls.iter().enumerate().step_by(5) {
        let set = format!(
            "{}/providers/Microsoft.Compute/diskEncryptionSets/set{number}",
            lab.group
        );
        let body =
            json!({ "location": "eastus", "properties": { "activeKey": { "keyUrl": url } } });
        world.over(owner, "PUT", &set, DISK, Some(&body)).await;
        let image = format!("{}/images/links{number}", lab.gallery);
        let mut body = crate::world::definition_body();
        for name in ["eula", "releaseNoteUri", "privacyStatementUri"] {
            body["properties"][name] = json!(url);
        }
        body["properties"]["identifier"]["sku"] = json!(format!("s{number}"));
        world.over(owner, "PUT", &image, GALLERY, Some(&body)).await;
        let Ok(value) = axum::http::HeaderValue::from_str(url) else {
            continue;
        };
        for name in [
            "x-ms-copy-source",
            "x-ms-requires-sync",
            "referer",
            "origin",
            "x-forwarded-host",
        ] {
            let headers = [
                (name, value.to_str().unwrap_or("x")),
                ("x-ms-blob-type", "BlockBlob"),
            ];
            let blob = format!("{ACCOUNT}/images/copy{number}");
            let answer = world
                .blob(&owner.blob_token, "PUT", &blob, &headers, &[])
                .await;
            assert!(
                answer.status() < 500 || answer.status() == 501,
                "{name}: {}",
                answer.text()
            );
            assert!(
                name != "x-ms-copy-source" || answer.status() >= 400,
                "{}",
                answer.text()
            );
        }
    }
}
