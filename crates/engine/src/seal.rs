//! Secrets that have to be kept in clear for a while, sealed with AES-256-GCM: secure parameters of a
//! deployment under way, passwords and custom data of a machine.
//!
//! The key belongs to the installation and lies in its settings, so that any node can go on after a
//! crash. Sealed values are bound to the resource that they are of. Who has the whole database has the
//! key as well: this keeps secrets out of rows, digests, dumps of tables and whatever reads them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Resource, ResourceId, Result, virtual_machine};
use serde_json::{Map, Value};

use crate::Engine;

impl Engine {
    /// Seals values of a resource.
    pub(crate) fn seal(&self, id: &ResourceId, values: &Map<String, Value>) -> Result<String> {
        let mut text = Value::Object(values.clone()).to_string().into_bytes();
        let nonce = self
            .sealing_key()?
            .seal_in_place_append_tag(Aad::from(id.key()), &mut text)
            .map_err(|_| failed(id, "cannot be sealed"))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(STANDARD.encode(sealed))
    }

    /// Opens what was sealed for a resource.
    pub(crate) fn unseal(&self, id: &ResourceId, sealed: &str) -> Result<Map<String, Value>> {
        let bytes = STANDARD
            .decode(sealed)
            .map_err(|_| failed(id, "are not base64"))?;
        let (nonce, text) = bytes
            .split_at_checked(NONCE_LEN)
            .ok_or_else(|| failed(id, "are too short"))?;
        let nonce =
            Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed(id, "have no nonce"))?;
        let mut text = text.to_vec();
        let text = self
            .sealing_key()?
            .open_in_place(nonce, Aad::from(id.key()), &mut text)
            .map_err(|_| failed(id, "cannot be opened"))?;
        serde_json::from_slice(text).map_err(|_| failed(id, "are not an object"))
    }

    /// Seals the secrets that a machine's row holds in clear.
    pub(crate) fn seal_secrets(&self, row: &mut Resource) -> Result<()> {
        if let Some(Value::Object(clear)) = virtual_machine::secrets(row) {
            let sealed = self.seal(&row.id, clear)?;
            virtual_machine::set_secrets(row, sealed.into());
        }
        Ok(())
    }

    /// Puts the secrets of a machine in clear into a row that is not stored.
    pub(crate) fn unseal_secrets(&self, row: &mut Resource) -> Result<()> {
        if let Some(Value::String(sealed)) = virtual_machine::secrets(row) {
            let clear = self.unseal(&row.id, sealed)?;
            virtual_machine::set_secrets(row, clear.into());
        }
        Ok(())
    }

    fn sealing_key(&self) -> Result<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, self.seal_key()).map_err(|_| Error::internal())
    }
}

fn failed(id: &ResourceId, why: &str) -> Error {
    tracing::error!(resource.id = %id, "sealed secrets {why}");
    Error::internal()
}
