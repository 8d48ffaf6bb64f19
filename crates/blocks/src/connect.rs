//! From a configured location to a client of an object store; what is secret in it is never told.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::{ClientOptions, Error, ObjectStore, RetryConfig};

use crate::error::{BlocksError, Result};

/// Tries of one request after the first.
const RETRIES_MAX: usize = 5;
/// How long the tries of one request may take.
const RETRY_TIME: Duration = Duration::from_secs(60);
/// Shorter values are no secrets, and may be part of any word.
const SECRET_BYTES_MIN: usize = 6;
/// Parts of the names of what must not be told.
const SECRET_NAMES: [&str; 6] = ["key", "secret", "token", "sas", "password", "authorization"];

/// A client, and where in the store it works.
pub(crate) struct Connected {
    pub store: Arc<dyn ObjectStore>,
    /// The segments of the prefix.
    pub prefix: Vec<String>,
    pub secrets: Secrets,
}

/// Values that no error may repeat.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<[String]>);

/// Connects to `s3://bucket/prefix` or `az://container/prefix`; options are those of the
/// `object_store` crate (`aws_endpoint`, `azure_storage_account_name`, …), over the environment.
pub(crate) fn connect(url: &str, options: &[(String, String)]) -> Result<Connected> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| invalid(format!("'{url}' is not the URL of an object store")))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(invalid(format!("'{url}' names no bucket or container")));
    }
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIME,
        ..RetryConfig::default()
    };
    let client = ClientOptions::new().with_timeout(RETRY_TIME);
    let (store, secrets): (Arc<dyn ObjectStore>, Secrets) = match scheme {
        "s3" => {
            let secrets = Secrets::of(options, "AWS_");
            let mut builder = AmazonS3Builder::from_env()
                .with_retry(retry)
                .with_client_options(client);
            for (name, value) in options {
                let key = name.parse().map_err(|_| unknown_option(name))?;
                builder = builder.with_config(key, value);
            }
            let built = builder.with_bucket_name(bucket).build();
            (Arc::new(built.map_err(|e| secrets.failed(&e))?), secrets)
        }
        "az" => {
            let secrets = Secrets::of(options, "AZURE_");
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_retry(retry)
                .with_client_options(client);
            for (name, value) in options {
                let key = name.parse().map_err(|_| unknown_option(name))?;
                builder = builder.with_config(key, value);
            }
            let built = builder.with_container_name(bucket).build();
            (Arc::new(built.map_err(|e| secrets.failed(&e))?), secrets)
        }
        _ => {
            return Err(invalid(format!(
                "object stores of kind '{scheme}' are not known: use s3:// or az://"
            )));
        }
    };
    Ok(Connected {
        store,
        prefix: prefix
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        secrets,
    })
}

impl Secrets {
    /// Returns the secret values of options and of the environment, the longest first.
    fn of(options: &[(String, String)], in_environment: &str) -> Self {
        let said = options
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        let found = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let is_ours = name.starts_with(in_environment);
            is_ours.then_some((name, value.into_string().ok()?))
        });
        let is_secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            SECRET_NAMES.iter().any(|part| name.contains(part))
        };
        let mut values: Vec<String> = said
            .chain(found)
            .filter(|(name, value)| is_secret(name) && value.len() >= SECRET_BYTES_MIN)
            .map(|(_, value)| value)
            .collect();
        values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values.into())
    }

    /// Returns the error of the storage, with what led to it, without secrets.
    pub fn failed(&self, error: &Error) -> BlocksError {
        let mut text = error.to_string();
        let mut next = std::error::Error::source(error);
        while let Some(source) = next {
            let more = source.to_string();
            // Most of them repeat their sources.
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            next = source.source();
        }
        BlocksError::Io(std::io::Error::other(self.clean(&text)))
    }

    /// Takes out secrets, and the queries of URLs: signatures are in them.
    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.0.iter() {
            text = text.replace(secret.as_str(), "***");
        }
        let ends_url = |c: char| c.is_whitespace() || "\"'<>)".contains(c);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find("://") {
            let (before, url) = rest.split_at(at);
            let end = url.find(ends_url).unwrap_or(url.len());
            let (url, after) = url.split_at(end);
            out.push_str(before);
            match url.split_once('?') {
                Some((path, _)) => {
                    out.push_str(path);
                    out.push_str("?***");
                }
                None => out.push_str(url),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

fn invalid(reason: String) -> BlocksError {
    BlocksError::Invalid { reason }
}

fn unknown_option(name: &str) -> BlocksError {
    invalid(format!("'{name}' is not an option of this object store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_storage_tell_no_secret() {
        let options = [
            ("aws_secret_access_key", "canary-secret"),
            ("azure_storage_sas_token", "sv=1&sig=canary%2Bsig"),
            ("aws_endpoint", "http://127.0.0.1:9"),
        ];
        let options: Vec<(String, String)> = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let secrets = Secrets::of(&options, "NONE_");
        let cause = "GET http://127.0.0.1:9/c?comp=list&sig=other (canary-secret): \"https://a.b/c?sig=x\" sv=1&sig=canary%2Bsig";
        let error = Error::Generic {
            store: "S3",
            source: cause.into(),
        };
        let told = match secrets.failed(&error) {
            BlocksError::Io(error) => error.to_string(),
            other => panic!("{other}"),
        };
        for word in ["canary", "sig=", "comp=list"] {
            assert!(!told.contains(word), "{told}");
        }
        assert!(told.contains("http://127.0.0.1:9/c?*** (***)"), "{told}");
        assert!(told.contains("\"https://a.b/c?***\""), "{told}");
    }

    #[test]
    fn what_is_no_location_is_refused_with_what_to_write() {
        for (url, option, says) in [
            ("bucket", None, "is not the URL"),
            ("s3:///prefix", None, "names no bucket"),
            ("gs://bucket", None, "use s3:// or az://"),
            ("s3://bucket", Some("aws_key"), "is not an option"),
            ("az://bucket", Some("aws_endpoint"), "is not an option"),
        ] {
            let options: Vec<_> = option
                .into_iter()
                .map(|o: &str| (o.to_owned(), "value-value".to_owned()))
                .collect();
            let refused = connect(url, &options).err().unwrap();
            assert!(refused.to_string().contains(says), "{url}: {refused}");
            assert!(!refused.to_string().contains("value-value"), "{refused}");
        }
    }
}
