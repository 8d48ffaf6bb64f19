//! Verified publishers: the operator vouches for a subscription, and its public galleries show it.
//!
//! There is no route for this: a badge that its wearer can ask for says nothing.

use catalog::{Read, VerifiedPublisher};
use domain::confusable::{Worth, judge};
use domain::shared_image::{Door, name_behind};
use domain::{Error, Resource, Result};

use crate::Engine;
use crate::error::catalog as db;
use crate::identity::Change;

const WRITE: &str = "Vitrine.Gallery/publishers/write";
const DELETE: &str = "Vitrine.Gallery/publishers/delete";
/// Bytes of the name of a publisher.
const NAME_BYTES_MAX: usize = 128;

/// What the operator sees of publishers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publishers {
    /// Those with a badge.
    pub verified: Vec<VerifiedPublisher>,
    /// Public galleries that look like somebody else's.
    pub flagged: Vec<FlaggedGallery>,
}

/// A public gallery that looks like somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlaggedGallery {
    /// The id of the gallery.
    pub gallery: String,
    /// The name that consumers use.
    pub public_name: String,
    /// Whom it looks like.
    pub looks_like: String,
}

impl Engine {
    /// Vouches for the public galleries of a subscription, under a name.
    pub async fn verify_publisher(
        &self,
        subscription: &str,
        name: &str,
    ) -> Result<VerifiedPublisher> {
        let name = name.trim();
        let is_name =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
        if !is_name {
            return Err(Error::bad_request(format!(
                "The name of a publisher has 1 to {NAME_BYTES_MAX} bytes and no control characters."
            )));
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        let known = tx.load_subscription(subscription).await.map_err(db)?;
        let known = known.ok_or_else(|| crate::identity::no_subscription(subscription))?;
        let others = tx.list_verified_publishers().await.map_err(db)?;
        let is_taken = |other: &VerifiedPublisher| {
            !other.subscription.eq_ignore_ascii_case(&known.id)
                && domain::confusable::skeleton(&other.name) == domain::confusable::skeleton(name)
        };
        if let Some(other) = others.iter().find(|other| is_taken(other)) {
            return Err(Error::conflict(
                "Conflict",
                format!(
                    "The name '{name}' looks like '{}', which subscription '{}' is verified as.",
                    other.name, other.subscription
                ),
            ));
        }
        let publisher = VerifiedPublisher {
            subscription: known.id.to_ascii_lowercase(),
            name: name.to_owned(),
            verified_ms: self.now_ms(),
        };
        let held = others
            .iter()
            .find(|other| other.subscription == publisher.subscription);
        let before = held.map(|held| held.name.as_str());
        let change = Change::badge(&known, before, Some(&publisher.name));
        self.audit_operator(&mut tx, WRITE, change).await?;
        tx.put_verified_publisher(&publisher).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(publisher)
    }

    /// Takes the badge of a subscription; images that were made from its galleries stay.
    pub async fn unverify_publisher(&self, subscription: &str) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let all = tx.list_verified_publishers().await.map_err(db)?;
        let held = all
            .iter()
            .find(|held| held.subscription.eq_ignore_ascii_case(subscription));
        let known = tx.load_subscription(subscription).await.map_err(db)?;
        if let (Some(held), Some(known)) = (held, known) {
            let change = Change::badge(&known, Some(&held.name), None);
            self.audit_operator(&mut tx, DELETE, change).await?;
            tx.delete_verified_publisher(subscription)
                .await
                .map_err(db)?;
            return tx.commit().await.map_err(db);
        }
        Err(Error::not_found(
            "PublisherNotFound",
            format!("The subscription '{subscription}' is not verified as a publisher."),
        ))
    }

    /// Returns the verified publishers, and the public galleries that look like somebody else's.
    pub async fn publishers(&self) -> Result<Publishers> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let verified = read.list_verified_publishers().await.map_err(db)?;
        let mut flagged = Vec::new();
        for row in read.list_galleries().await.map_err(db)? {
            let Some(name) = name_behind(Door::Community, &row) else {
                continue;
            };
            if let Worth::LooksLike(looks_like) = worth_among(&verified, &row) {
                flagged.push(FlaggedGallery {
                    gallery: row.id.to_string(),
                    public_name: name.to_owned(),
                    looks_like,
                });
            }
        }
        Ok(Publishers { verified, flagged })
    }
}

/// Returns what the names of a gallery are worth.
pub(crate) async fn worth(read: &mut Read, gallery: &Resource) -> Result<Worth> {
    let verified = read.list_verified_publishers().await.map_err(db)?;
    Ok(worth_among(&verified, gallery))
}

/// Returns what the names of a gallery are worth among verified publishers.
pub(crate) fn worth_among(verified: &[VerifiedPublisher], gallery: &Resource) -> Worth {
    let verified: Vec<(String, String)> = verified
        .iter()
        .map(|publisher| (publisher.subscription.clone(), publisher.name.clone()))
        .collect();
    judge(
        domain::gallery::public_words(gallery),
        gallery.id.subscription(),
        &verified,
    )
}
