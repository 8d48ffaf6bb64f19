//! Secure parameters of a deployment under way, sealed with AES-256-GCM.
//!
//! The key belongs to the installation and lies in its settings, so that any node can go on after a
//! crash; sealed values are bound to their deployment and removed when it is over.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, ResourceId, Result};
use serde_json::{Map, Value};

use crate::Engine;
use crate::error::catalog as db;

const KEY_SETTING: &str = "deployment-key";
const KEY_BYTES: usize = 32;

impl Engine {
    /// Seals values for a deployment.
    pub(super) async fn seal(
        &self,
        id: &ResourceId,
        values: &Map<String, Value>,
    ) -> Result<String> {
        let key = self.sealing_key().await?;
        let mut text = Value::Object(values.clone()).to_string().into_bytes();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(id.key()), &mut text)
            .map_err(|_| failed("cannot be sealed"))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(STANDARD.encode(sealed))
    }

    /// Opens what was sealed for a deployment.
    pub(super) async fn unseal(&self, id: &ResourceId, sealed: &str) -> Result<Map<String, Value>> {
        let key = self.sealing_key().await?;
        let bytes = STANDARD
            .decode(sealed)
            .map_err(|_| failed("are not base64"))?;
        let (nonce, text) = bytes
            .split_at_checked(NONCE_LEN)
            .ok_or_else(|| failed("are too short"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed("have no nonce"))?;
        let mut text = text.to_vec();
        let text = key
            .open_in_place(nonce, Aad::from(id.key()), &mut text)
            .map_err(|_| failed("cannot be opened"))?;
        serde_json::from_slice(text).map_err(|_| failed("are not an object"))
    }

    async fn sealing_key(&self) -> Result<RandomizedNonceKey> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut kept = read.setting(KEY_SETTING).await.map_err(db)?;
        drop(read);
        if kept.is_none() {
            let mut fresh = [0_u8; KEY_BYTES];
            getrandom::fill(&mut fresh).map_err(|_| failed("got no randomness"))?;
            let mut tx = self.catalog().write().await.map_err(db)?;
            tx.put_setting_if_absent(KEY_SETTING, &STANDARD.encode(fresh))
                .await
                .map_err(db)?;
            kept = tx.setting(KEY_SETTING).await.map_err(db)?;
            tx.commit().await.map_err(db)?;
        }
        let key = STANDARD
            .decode(kept.unwrap_or_default())
            .map_err(|_| failed("have a bad key"))?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| failed("have a bad key"))
    }
}

fn failed(why: &str) -> Error {
    tracing::error!("secure parameters of a deployment {why}");
    Error::internal()
}
