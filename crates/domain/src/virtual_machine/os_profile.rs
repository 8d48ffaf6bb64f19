//! `osProfile`: what a generalized image learns about itself. Source: `API.md` 10.
//!
//! Passwords and custom data never stand in `properties`: they go to `internal.secrets`, which no
//! view shows and no audit digests. Later only what is there already may be said.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::plan::{is_nothing, same, text};
use crate::resource::Document;
use crate::{Error, Resource, Result};

const PROFILE: &str = "osProfile";
/// Characters of base64 at most: 64 KiB. Source: the service's text.
const CUSTOM_DATA_CHARS_MAX: usize = 87_380;
/// Keys of one user at most.
const KEYS_MAX: usize = 64;
/// Names that systems keep for themselves. Source: the service's documentation of `adminUsername`.
const RESERVED: [&str; 36] = [
    "administrator",
    "admin",
    "user",
    "user1",
    "test",
    "user2",
    "test1",
    "user3",
    "admin1",
    "1",
    "123",
    "a",
    "actuser",
    "adm",
    "admin2",
    "aspnet",
    "backup",
    "console",
    "david",
    "guest",
    "john",
    "owner",
    "root",
    "server",
    "sql",
    "support",
    "support_388945a0",
    "sys",
    "test2",
    "test3",
    "user4",
    "user5",
    "daemon",
    "nobody",
    "bin",
    "sshd",
];

/// Members that hold secrets.
const SECRETS: [&str; 2] = ["adminPassword", "customData"];

/// Plans `osProfile` and `userData`; whether there may be one is decided where the image is known.
pub(super) fn plan(
    row: &mut Resource,
    sent: &Document,
    os_type: Option<&str>,
    is_new: bool,
) -> Result<()> {
    if let Some(data) = text(sent, "userData") {
        check_base64(data, "userData", "User data")?;
        if data.is_empty() {
            row.internal.shift_remove("userData");
        } else {
            row.internal.insert("userData".to_owned(), json!(data));
        }
    }
    let Some(profile) = sent.get(PROFILE).filter(|p| !is_nothing(p)) else {
        return Ok(());
    };
    let profile = profile.as_object().cloned().unwrap_or_default();
    if !is_new {
        return check_same(row, &profile);
    }
    let is_windows = profile.contains_key("windowsConfiguration") || os_type == Some("Windows");
    let profile = shape(row.id.name(), profile, is_windows)?;
    let mut shown = profile;
    let mut secrets = Document::new();
    for name in SECRETS {
        if let Some(value) = shown.shift_remove(name) {
            secrets.insert(name.to_owned(), value);
        }
    }
    if !secrets.is_empty() {
        set_secrets(row, Value::Object(secrets));
    }
    row.properties
        .insert(PROFILE.to_owned(), Value::Object(shown));
    Ok(())
}

/// Returns the secrets of a machine: an object in clear, a text when they are sealed.
pub fn secrets(row: &Resource) -> Option<&Value> {
    row.internal.get("secrets")
}

/// Replaces the secrets of a machine, sealed by clear or clear by sealed.
pub fn set_secrets(row: &mut Resource, secrets: Value) {
    row.internal.insert("secrets".to_owned(), secrets);
}

/// Returns a secret of a machine, from a row that holds them in clear.
pub fn secret<'a>(row: &'a Resource, name: &str) -> Option<&'a str> {
    secrets(row)?.get(name)?.as_str()
}

/// Takes over the secrets of a reimage, checked as those of a new machine; what is left out stays as it was.
pub(super) fn take_secrets(row: &mut Resource, sent: Document) -> Result<()> {
    let profile = row.properties.get(PROFILE);
    let is_windows = profile.is_some_and(|p| p.get("windowsConfiguration").is_some());
    let mut kept = secrets(row).and_then(Value::as_object).cloned();
    for (name, value) in sent {
        let said = value.as_str().unwrap_or_default();
        match name.as_str() {
            "adminPassword" => check_password(said, is_windows)?,
            "customData" => check_base64(said, "customData", "Custom data in OSProfile")?,
            _ => {
                let target = format!("{PROFILE}.{name}");
                let refused = format!("Parameter '{target}' is not allowed.");
                return Err(Error::invalid_parameter(target, refused));
            }
        }
        kept.get_or_insert_default().insert(name, value);
    }
    if let Some(kept) = kept {
        set_secrets(row, Value::Object(kept));
    }
    Ok(())
}

/// Forgets the secrets: what was provisioned once is not provisioned again.
pub fn forget_secrets(row: &mut Resource) {
    row.internal.shift_remove("secrets");
}

fn shape(machine: &str, sent: Document, is_windows: bool) -> Result<Document> {
    let computer = text(&sent, "computerName").filter(|n| !n.is_empty());
    let computer = computer.unwrap_or(machine).to_owned();
    check_computer_name(&computer, is_windows)?;
    let user = text(&sent, "adminUsername").filter(|n| !n.is_empty());
    let user = user
        .ok_or_else(|| Error::required("adminUsername"))?
        .to_owned();
    check_user(&user, is_windows)?;
    let mut out = Document::new();
    out.insert("computerName".to_owned(), json!(computer));
    out.insert("adminUsername".to_owned(), json!(user));
    let password = text(&sent, "adminPassword").filter(|p| !p.is_empty());
    if let Some(password) = password {
        check_password(password, is_windows)?;
        out.insert("adminPassword".to_owned(), json!(password));
    }
    if let Some(data) = text(&sent, "customData").filter(|d| !d.is_empty()) {
        check_base64(data, "customData", "Custom data in OSProfile")?;
        out.insert("customData".to_owned(), json!(data));
    }
    if is_windows {
        if password.is_none() {
            return Err(Error::required("adminPassword"));
        }
        let windows = sent.get("windowsConfiguration").and_then(Value::as_object);
        let windows = shape_windows(windows.cloned().unwrap_or_default());
        out.insert("windowsConfiguration".to_owned(), windows);
    } else {
        let linux = sent.get("linuxConfiguration").and_then(Value::as_object);
        let linux = shape_linux(
            linux.cloned().unwrap_or_default(),
            &user,
            password.is_some(),
        )?;
        out.insert("linuxConfiguration".to_owned(), linux);
    }
    let secrets = sent.get("secrets").cloned();
    out.insert("secrets".to_owned(), secrets.unwrap_or_else(|| json!([])));
    for name in ["allowExtensionOperations", "requireGuestProvisionSignal"] {
        let value = sent.get(name).cloned();
        out.insert(name.to_owned(), value.unwrap_or(Value::Bool(true)));
    }
    Ok(out)
}

fn shape_windows(mut windows: Document) -> Value {
    windows
        .entry("provisionVMAgent")
        .or_insert(Value::Bool(true));
    windows
        .entry("enableAutomaticUpdates")
        .or_insert(Value::Bool(true));
    Value::Object(windows)
}

fn shape_linux(mut linux: Document, user: &str, has_password: bool) -> Result<Value> {
    let is_off = linux
        .get("disablePasswordAuthentication")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let keys = check_keys(&linux, user)?;
    if is_off && keys == 0 {
        return Err(Error::invalid_parameter(
            "linuxConfiguration",
            "Authentication using either SSH or by user name and password must be enabled in Linux profile.",
        ));
    }
    if !is_off && !has_password {
        return Err(Error::required("adminPassword"));
    }
    let mut out = Document::new();
    out.insert("disablePasswordAuthentication".to_owned(), json!(is_off));
    if let Some(ssh) = linux.shift_remove("ssh").filter(|ssh| !is_nothing(ssh)) {
        out.insert("ssh".to_owned(), ssh);
    }
    linux.shift_remove("disablePasswordAuthentication");
    out.insert(
        "provisionVMAgent".to_owned(),
        linux
            .shift_remove("provisionVMAgent")
            .unwrap_or(Value::Bool(true)),
    );
    let usual = json!({ "patchMode": "ImageDefault", "assessmentMode": "ImageDefault" });
    let patch = linux
        .shift_remove("patchSettings")
        .filter(|p| !is_nothing(p));
    out.insert("patchSettings".to_owned(), patch.unwrap_or(usual));
    out.extend(linux);
    Ok(Value::Object(out))
}

/// Checks public keys and returns how many there are.
fn check_keys(linux: &Document, user: &str) -> Result<usize> {
    let keys = linux.get("ssh").and_then(|ssh| ssh.get("publicKeys"));
    let keys = keys.and_then(Value::as_array).cloned().unwrap_or_default();
    if keys.len() > KEYS_MAX {
        return Err(Error::invalid_parameter(
            "linuxConfiguration.ssh.publicKeys",
            format!("A machine takes at most {KEYS_MAX} public keys."),
        ));
    }
    let usual = format!("/home/{user}/.ssh/authorized_keys");
    for key in &keys {
        let says = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
        if says("path") != usual {
            return Err(Error::invalid_parameter(
                "linuxConfiguration.ssh.publicKeys.path",
                format!(
                    "Destination path for SSH public keys is currently limited to its default value {usual}  due to a known \
                     issue in Linux provisioning agent."
                ),
            ));
        }
        if !is_public_key(says("keyData")) {
            return Err(Error::invalid_parameter(
                "linuxConfiguration.ssh.publicKeys.keyData",
                "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.",
            ));
        }
    }
    Ok(keys.len())
}

/// Whether a text is one line `type base64 [comment]`, as `authorized_keys` has it.
fn is_public_key(data: &str) -> bool {
    let line = data.trim();
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let body = words.next().unwrap_or_default();
    let is_kind = ["ssh-rsa", "ssh-ed25519"].contains(&kind) || kind.starts_with("ecdsa-sha2-");
    is_kind && !body.is_empty() && STANDARD.decode(body).is_ok() && !line.contains(char::is_control)
}

fn check_computer_name(name: &str, is_windows: bool) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let most = if is_windows { 15 } else { 64 };
    let is_good = name.len() <= most
        && name.chars().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with(['-', '.']);
    let is_number = is_windows && name.chars().all(|c| c.is_ascii_digit());
    if is_good && !is_number {
        return Ok(());
    }
    let system = if is_windows {
        "Windows computer"
    } else {
        "Linux host"
    };
    Err(Error::invalid_parameter(
        "computerName",
        format!(
            "{system} name cannot exceed {most} characters in length{} or contain the following characters: \
             ` ~ ! @ # $ % ^ & * ( ) = + _ [ ] {{ }} \\ | ; : ' \" , < > / ?.",
            if is_windows {
                ", be entirely numeric,"
            } else {
                ""
            }
        ),
    ))
}

fn check_user(name: &str, is_windows: bool) -> Result<()> {
    let most = if is_windows { 20 } else { 64 };
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_reserved = RESERVED.iter().any(|r| r.eq_ignore_ascii_case(name));
    let is_good = name.len() <= most
        && name.chars().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !name.ends_with('.');
    if is_good && !is_reserved {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "adminUsername",
        format!(
            "The Admin Username specified is not allowed. It has 1 to {most} letters, digits, '_', '-' and '.', begins with a \
             letter, digit or '_', and is none of the names that systems keep for themselves."
        ),
    ))
}

fn check_password(password: &str, is_windows: bool) -> Result<()> {
    let (least, most) = if is_windows { (8, 123) } else { (6, 72) };
    let has = |test: fn(&char) -> bool| password.chars().any(|c| test(&c));
    let kinds = [
        has(char::is_ascii_uppercase),
        has(char::is_ascii_lowercase),
        has(char::is_ascii_digit),
        password.chars().any(|c| !c.is_ascii_alphanumeric()),
    ];
    let kinds = kinds.into_iter().filter(|k| *k).count();
    let length = password.chars().count();
    if (least..=most).contains(&length) && kinds >= 3 && !password.contains(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "adminPassword",
        format!(
            "The supplied password must be between {least}-{most} characters long and must satisfy at least 3 of password \
             complexity requirements from the following:\r\n1) Contains an uppercase character\r\n2) Contains a lowercase \
             character\r\n3) Contains a numeric digit\r\n4) Contains a special character\r\n5) Control characters are not \
             allowed"
        ),
    ))
}

fn check_base64(data: &str, target: &str, what: &str) -> Result<()> {
    if data.len() <= CUSTOM_DATA_CHARS_MAX && STANDARD.decode(data).is_ok() {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        target,
        format!(
            "{what} must be in Base64 encoding and with a maximum length of {CUSTOM_DATA_CHARS_MAX} characters."
        ),
    ))
}

/// What is said later must be what is there; answers sent back lack the secrets.
fn check_same(row: &Resource, sent: &Document) -> Result<()> {
    let held = row.properties.get(PROFILE);
    for (name, value) in sent {
        let is_kept = match SECRETS.contains(&name.as_str()) {
            true => secret(row, name).map(|s| json!(s)).as_ref() == Some(value),
            false => is_within(held.and_then(|h| h.get(name)), value),
        };
        if !is_kept && !is_nothing(value) {
            return Err(Error::change_not_allowed(format!("{PROFILE}.{name}")));
        }
    }
    Ok(())
}

/// Whether nothing that is sent differs from what is held, however deep.
fn is_within(held: Option<&Value>, sent: &Value) -> bool {
    match (held, sent) {
        (Some(Value::Object(held)), Value::Object(sent)) => sent
            .iter()
            .all(|(name, value)| is_within(held.get(name), value)),
        (Some(Value::Array(held)), Value::Array(sent)) => {
            held.len() == sent.len() && held.iter().zip(sent).all(|(h, s)| is_within(Some(h), s))
        }
        _ => same(held, sent),
    }
}
