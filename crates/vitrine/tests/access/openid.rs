//! A second gallery as the OpenID provider of the first: real tokens, real keys, fetched over TLS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use testkit::{Arm, Gallery, Options, until};

use crate::world::{SOON, World, check};

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A gallery that trusts `provider` for an audience, with its origin in a list of `outbound`; `more` is configured too.
async fn trusting(provider: &World, audience: &str, list: &str, more: &str) -> World {
    let told = claims(provider.owner.token());
    let endpoint = provider.server.endpoint();
    let tenant = provider.server.credential("tenantId");
    let text = format!(
        "[outbound]\n{list} = [\"{endpoint}\"]\nauthorities = [\"{}\"]\n\n[[openid]]\nissuer = \"{}\"\naudiences = [\"{audience}\"]\n\
         jwks_uri = \"{endpoint}/{tenant}/discovery/v2.0/keys\"\nsubject_claim = \"oid\"\nalgorithms = [\"ES256\"]\n{more}\n",
        provider.server.ca().display(),
        told["iss"].as_str().unwrap(),
    );
    let file = provider.server.scratch().join(format!("{list}.toml"));
    std::fs::write(&file, text).unwrap();
    let options =
        Options::new(env!("CARGO_BIN_EXE_vitrine")).env("VITRINE_CONFIG", file.to_str().unwrap());
    let server = Gallery::start(options).await;
    let owner = server.arm().await;
    World { server, owner }
}

async fn ask(who: &Arm) -> testkit::Answer {
    who.send("GET", "/subscriptions", "2022-12-01", None).await
}

#[tokio::test]
async fn tokens_of_another_gallery_count_for_the_principal_that_they_are_linked_to() {
    let provider = World::new().await;
    let theirs = claims(provider.owner.token());
    let text = |name: &str| theirs[name].as_str().unwrap().to_owned();
    let gallery = trusting(&provider, &text("aud"), "inside", "").await;
    let foreign = gallery.owner.with_token(provider.owner.token());
    // Not linked: nobody.
    check(&ask(&foreign).await, 401, "AuthenticationFailed");
    let reader = gallery.person("reader").await;
    let scope = gallery.server.subscription();
    gallery.verb(&format!(
        "principal grant {} --role Reader --scope {scope}",
        reader.object_id
    ));
    let link = format!("--issuer {} --subject {}", text("iss"), text("oid"));
    gallery.verb(&format!("principal link {} {link}", reader.object_id));
    assert_eq!(
        gallery.verb(&format!("principal links {}", reader.object_id))[0]["subject"],
        theirs["oid"]
    );
    let answer = until("the link counts", SOON, || async {
        let answer = ask(&foreign).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(
        answer.body["value"][0]["id"],
        scope.as_str(),
        "{}",
        answer.body
    );
    // It is a reader, whatever it is at home.
    let group = format!("{scope}/resourceGroups/g");
    let here = serde_json::json!({ "location": "eastus" });
    let refused = foreign.send("PUT", &group, "2024-11-01", Some(&here)).await;
    check(&refused, 403, "AuthorizationFailed");
    // Ours count as ever, and a token of the provider that is for somebody else does not.
    check(&ask(&gallery.owner).await, 200, "");
    let strict = trusting(&provider, "api://somebody-else", "inside", "").await;
    check(
        &ask(&strict.owner.with_token(provider.owner.token())).await,
        401,
        "InvalidAuthenticationTokenAudience",
    );
    // A provider inside, where the operator said public, is not called.
    let careful = trusting(&provider, &text("aud"), "allow", "").await;
    check(
        &ask(&careful.owner.with_token(provider.owner.token())).await,
        401,
        "InvalidAuthenticationToken",
    );
    assert!(
        careful.server.log_text().contains("outbound.inside"),
        "{}",
        careful.server.log_text()
    );
}

#[tokio::test]
async fn everybody_of_a_claimed_group_has_the_roles_of_the_group_it_is_linked_with() {
    let provider = World::new().await;
    let theirs = claims(provider.owner.token());
    let text = |name: &str| theirs[name].as_str().unwrap().to_owned();
    // Every account of the provider says the tenant that it is of: here that is a group.
    let more = "groups_claim = \"tid\"";
    let gallery = trusting(&provider, &text("aud"), "inside", more).await;
    let other = provider.person("other").await;
    let foreign = [provider.owner.token(), other.arm.token()];
    let foreign = foreign.map(|token| gallery.owner.with_token(token));
    for one in &foreign {
        check(&ask(one).await, 401, "AuthenticationFailed");
    }
    gallery.verb("principal create-group visitors");
    let scope = gallery.server.subscription();
    gallery.verb(&format!(
        "principal grant visitors --role Reader --scope {scope}"
    ));
    let link = format!("--issuer {} --subject {}", text("iss"), text("tid"));
    gallery.verb(&format!("principal link visitors {link}"));
    for one in &foreign {
        let answer = until("the link counts", SOON, || async {
            let answer = ask(one).await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!(
            answer.body["value"][0]["id"],
            scope.as_str(),
            "{}",
            answer.body
        );
        let group = format!("{scope}/resourceGroups/g");
        let here = serde_json::json!({ "location": "eastus" });
        let refused = one.send("PUT", &group, "2024-11-01", Some(&here)).await;
        check(&refused, 403, "AuthorizationFailed");
    }
    gallery.verb(&format!("principal unlink {link}"));
    for one in &foreign {
        until("the link is gone", SOON, || async {
            (ask(one).await.status == 401).then_some(())
        })
        .await;
    }
}
