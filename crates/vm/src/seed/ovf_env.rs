//! `ovf-env.xml`, the provisioning document of Azure
//! (<https://github.com/Azure/azure-linux-extensions>, `ovf-env` of Windows Azure 1.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Provisioning;

/// Returns the document. A password is not in it: only its hash is known.
pub(super) fn document(provisioning: &Provisioning) -> String {
    let user = &provisioning.user;
    let keys: String = user
        .keys
        .iter()
        .map(|key| {
            format!(
                "<PublicKey><Path>/home/{}/.ssh/authorized_keys</Path><Value>{}</Value></PublicKey>",
                escaped(&user.name),
                escaped(key.trim())
            )
        })
        .collect();
    let custom_data = provisioning.custom_data.as_deref().unwrap_or_default();
    let custom_data = if custom_data.is_empty() {
        String::new()
    } else {
        format!("<CustomData>{}</CustomData>", STANDARD.encode(custom_data))
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:oe=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:wa=\"http://schemas.microsoft.com/windowsazure\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n\
         <wa:ProvisioningSection><wa:Version>1.0</wa:Version>\n\
         <LinuxProvisioningConfigurationSet xmlns=\"http://schemas.microsoft.com/windowsazure\">\n\
         <ConfigurationSetType>LinuxProvisioningConfiguration</ConfigurationSetType>\n\
         <HostName>{host}</HostName>\n\
         <UserName>{name}</UserName>\n\
         <DisableSshPasswordAuthentication>{keys_only}</DisableSshPasswordAuthentication>\n\
         <SSH><PublicKeys>{keys}</PublicKeys></SSH>\n\
         {custom_data}\n\
         </LinuxProvisioningConfigurationSet></wa:ProvisioningSection>\n\
         <wa:PlatformSettingsSection><wa:Version>1.0</wa:Version>\n\
         <PlatformSettings xmlns=\"http://schemas.microsoft.com/windowsazure\">\n\
         <ProvisionGuestAgent>false</ProvisionGuestAgent>\n\
         </PlatformSettings></wa:PlatformSettingsSection>\n\
         </Environment>\n",
        host = escaped(&provisioning.host_name),
        name = escaped(&user.name),
        keys_only = user.password_hash.is_none(),
    )
}

/// Spells out what means something in XML; control characters, which XML cannot have, are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
