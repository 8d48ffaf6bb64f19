//! Roles, groups and locks as people handle them: with the real Azure CLI.

mod az;

use az::{Az, count, member, start};
use serde_json::Value;
use testkit::{Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

fn verb(server: &Gallery, words: &[&str]) -> Value {
    let output = server.vitrine(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

#[test]
fn az_gives_and_takes_roles_and_locks() {
    let server = start(Options::new(BINARY));
    let az = Az::connect(&server);
    az.json(&["group", "create", "-n", "rg", "-l", "eastus"]);
    let gallery = az.json(&["sig", "create", "-g", "rg", "-r", "sig"]);
    let gallery = member(&gallery, "/id").to_owned();
    let ada = verb(&server, &["principal", "create-service-principal", "ada"]);
    let team = verb(&server, &["principal", "create-group", "team"]);
    let grace = verb(&server, &["principal", "create-user", "grace"]);
    assignments(
        &az,
        &gallery,
        member(&ada, "/clientId"),
        member(&team, "/objectId"),
    );
    definitions(&az, &server, &gallery, member(&grace, "/name"));
    locks(&az, &gallery);
}

fn assignments(az: &Az<'_>, gallery: &str, client_id: &str, team: &str) {
    let create = |assignee: &[&str], role: &str| {
        let mut words = vec![
            "role",
            "assignment",
            "create",
            "--role",
            role,
            "--scope",
            gallery,
        ];
        words.extend(assignee);
        az.json(&words)
    };
    let made = create(&["--assignee", client_id], "Reader");
    assert_eq!(member(&made, "/principalType"), "ServicePrincipal");
    // The same again is no error for az: it finds the one that is there.
    let again = create(&["--assignee", client_id], "Reader");
    assert_eq!(member(&again, "/id"), member(&made, "/id"));
    let group = [
        "--assignee-object-id",
        team,
        "--assignee-principal-type",
        "Group",
    ];
    create(&group, "Contributor");
    let listed = az.json(&["role", "assignment", "list", "--scope", gallery]);
    assert_eq!(count(&listed), 2, "{listed}");
    let of = az.json(&[
        "role",
        "assignment",
        "list",
        "--scope",
        gallery,
        "--assignee",
        client_id,
    ]);
    assert_eq!(count(&of), 1, "{of}");
    assert_eq!(member(&of, "/0/roleDefinitionName"), "Reader");
    assert_eq!(member(&of, "/0/principalName"), client_id);
    let inherited = az.json(&[
        "role",
        "assignment",
        "list",
        "--scope",
        gallery,
        "--include-inherited",
    ]);
    assert!(count(&inherited) > 2, "{inherited}");
    let delete = ["role", "assignment", "delete", "--scope", gallery];
    az.json(&[&delete[..], &["--assignee", client_id, "--role", "Reader"]].concat());
    az.json(&[&delete[..], &["--assignee", team]].concat());
    let left = az.json(&["role", "assignment", "list", "--scope", gallery]);
    assert_eq!(count(&left), 0, "{left}");
}

fn definitions(az: &Az<'_>, server: &Gallery, gallery: &str, user: &str) {
    let built_in = az.json(&[
        "role",
        "definition",
        "list",
        "--name",
        "Compute Gallery Sharing Admin",
    ]);
    assert_eq!(count(&built_in), 1, "{built_in}");
    let scope = server.subscription();
    let role = format!(
        r#"{{"Name":"Looker","Description":"looks","Actions":["Microsoft.Compute/galleries/read"],"NotActions":[],"AssignableScopes":["{scope}"]}}"#
    );
    let made = az.json(&["role", "definition", "create", "--role-definition", &role]);
    assert_eq!(member(&made, "/roleName"), "Looker");
    let custom = az.json(&["role", "definition", "list", "--custom-role-only", "true"]);
    assert_eq!(count(&custom), 1, "{custom}");
    let given = [
        "role",
        "assignment",
        "create",
        "--role",
        "Looker",
        "--scope",
        gallery,
    ];
    az.json(&[&given[..], &["--assignee", user]].concat());
    let refused = az.fails(&["role", "definition", "delete", "--name", "Looker"]);
    assert!(
        refused.contains("RoleDefinitionHasAssignments"),
        "{refused}"
    );
    az.json(&[
        "role",
        "assignment",
        "delete",
        "--role",
        "Looker",
        "--scope",
        gallery,
    ]);
    az.json(&["role", "definition", "delete", "--name", "Looker"]);
}

fn locks(az: &Az<'_>, gallery: &str) {
    let create = [
        "lock",
        "create",
        "-n",
        "keep",
        "--lock-type",
        "CanNotDelete",
        "-g",
        "rg",
    ];
    let resource = [
        "--resource-type",
        "Microsoft.Compute/galleries",
        "--resource",
        "sig",
    ];
    az.json(&[&create[..], &resource].concat());
    assert_eq!(count(&az.json(&["lock", "list", "-g", "rg"])), 1);
    let refused = az.fails(&["sig", "delete", "-g", "rg", "-r", "sig"]);
    assert!(
        refused.contains("ScopeLocked") && refused.contains(gallery),
        "{refused}"
    );
    az.json(&[&["lock", "delete", "-n", "keep", "-g", "rg"][..], &resource].concat());
    az.json(&["sig", "delete", "-g", "rg", "-r", "sig"]);
}

#[test]
fn az_lists_what_is_shared_what_is_public_and_what_happened() {
    let server = start(Options::new(BINARY));
    let az = Az::connect(&server);
    az.json(&["group", "create", "-n", "rg", "-l", "eastus"]);
    let sig = ["-g", "rg", "-r", "sig"];
    az.json(&[&["sig", "create", "--permissions", "groups"][..], &sig].concat());
    let identity = [
        "-i",
        "d",
        "--publisher",
        "p",
        "--offer",
        "o",
        "--sku",
        "s",
        "--os-type",
        "linux",
        "--hyper-v-generation",
        "V1",
    ];
    let definition = [&["sig", "image-definition", "create"][..], &sig, &identity].concat();
    az.json(&definition);
    az.json(&[
        "disk",
        "create",
        "-g",
        "rg",
        "-n",
        "source",
        "--size-gb",
        "1",
    ]);
    let source = format!(
        "{}/resourceGroups/rg/providers/Microsoft.Compute/disks/source",
        server.subscription()
    );
    let version = ["-i", "d", "-e", "1.0.0", "--os-snapshot", &source];
    az.json(&[&["sig", "image-version", "create"][..], &sig, &version].concat());
    let own = server.credential("subscriptionId");
    assert_eq!(count(&az.json(&["sig", "list-shared", "-l", "eastus"])), 0);
    az.json(
        &[
            &["sig", "share", "add", "--subscription-ids", &own][..],
            &sig,
        ]
        .concat(),
    );
    let shared = az.json(&["sig", "list-shared", "-l", "eastus"]);
    assert_eq!(count(&shared), 1, "{shared}");
    let name = member(&shared, "/0/name");
    let place = ["-l", "eastus", "--gallery-unique-name", name];
    let shown = az.json(&[&["sig", "show-shared"][..], &place].concat());
    assert_eq!(
        member(&shown, "/uniqueId"),
        format!("/SharedGalleries/{name}")
    );
    let images = az.json(&[&["sig", "image-definition", "list-shared"][..], &place].concat());
    assert_eq!(count(&images), 1, "{images}");
    let versions = [
        &["sig", "image-version", "list-shared", "-i", "d"][..],
        &place,
    ]
    .concat();
    assert_eq!(count(&az.json(&versions)), 1);
    let image = format!("/SharedGalleries/{name}/Images/d/Versions/latest");
    az.json(&[
        "disk",
        "create",
        "-g",
        "rg",
        "-n",
        "made",
        "--gallery-image-reference",
        &image,
    ]);
    public(&az, &source);
    happened(&az, &server);
}

/// A public gallery is found by everybody, and only as long as it is one.
fn public(az: &Az<'_>, source: &str) {
    az.shell(&format!(
        "az sig create -g rg -r open --permissions community --publisher-uri https://acme.example \
         --publisher-email a@acme.example --eula none --public-name-prefix acmeinc -o none\n\
         az sig image-definition create -g rg -r open -i d -p p -f o -s s --os-type linux --hyper-v-generation V1 -o none\n\
         az sig image-version create -g rg -r open -i d -e 1.0.0 --os-snapshot {source} -o none"
    ));
    let list = ["sig", "list-community", "-l", "eastus"];
    assert_eq!(count(&az.json(&list)), 0, "not yet public");
    az.json(&["sig", "share", "enable-community", "-g", "rg", "-r", "open"]);
    let community = az.json(&list);
    assert_eq!(count(&community), 1, "{community}");
    let name = member(&community, "/0/name");
    assert!(name.starts_with("acmeinc-"), "{community}");
    let west = ["sig", "list-community", "-l", "westus2"];
    assert_eq!(count(&az.json(&west)), 0, "it has no version there");
    let place = ["-l", "eastus", "--public-gallery-name", name];
    let images = ["sig", "image-definition", "list-community"];
    assert_eq!(count(&az.json(&[&images[..], &place].concat())), 1);
    let version = [
        "sig",
        "image-version",
        "show-community",
        "-i",
        "d",
        "-e",
        "1.0.0",
    ];
    let shown = az.json(&[&version[..], &place].concat());
    assert_eq!(member(&shown, "/name"), "1.0.0");
    let image = format!("/CommunityGalleries/{name}/Images/d/Versions/latest");
    az.json(&[
        "disk",
        "create",
        "-g",
        "rg",
        "-n",
        "ofpublic",
        "--gallery-image-reference",
        &image,
    ]);
    az.json(&["sig", "share", "reset", "-g", "rg", "-r", "open"]);
    assert_eq!(count(&az.json(&list)), 0, "public no more");
}

/// The activity log shows what each of its filters asks for, and no more.
fn happened(az: &Az<'_>, server: &Gallery) {
    let list = ["monitor", "activity-log", "list", "--offset", "1h"];
    let log = |words: &[&str]| az.json(&[&list[..], words].concat());
    assert!(count(&log(&["-g", "rg"])) >= 6);
    assert_eq!(count(&log(&["--status", "Failed"])), 0);
    let made = verb(server, &["principal", "create-service-principal", "other"]);
    let compute = format!(
        "{}/resourceGroups/rg/providers/Microsoft.Compute",
        server.subscription()
    );
    let (gallery, caller) = (
        format!("{compute}/galleries/sig"),
        member(&made, "/clientId"),
    );
    let elsewhere = format!("{compute}/disks/source");
    let grant = ["--role", "Reader", "--scope", &elsewhere];
    verb(
        server,
        &[&["principal", "grant", caller][..], &grant].concat(),
    );
    let other = signed_in(az, &made);
    let said = other.fails(&["sig", "show", "-g", "rg", "-r", "sig"]);
    assert!(said.contains("AuthorizationFailed"), "{said}");
    let failed = log(&["--status", "Failed"]);
    assert_eq!(count(&failed), 1, "{failed}");
    assert_eq!(member(&failed, "/0/caller"), caller);
    assert_eq!(count(&log(&["--caller", caller])), 1);
    let correlation = member(&failed, "/0/correlationId").to_owned();
    assert_eq!(count(&log(&["--correlation-id", &correlation])), 1);
    let all = log(&["--resource-id", &gallery]);
    let of_gallery = all.as_array().into_iter().flatten();
    let others: Vec<&Value> = of_gallery
        .filter(|event| {
            let id = member(event, "/resourceId").to_lowercase();
            !id.starts_with(&gallery.to_lowercase())
        })
        .collect();
    assert!(count(&all) >= 3 && others.is_empty(), "{all}");
    assert!(count(&log(&["--namespace", "Microsoft.Compute"])) >= count(&all));
    assert_eq!(count(&log(&["--namespace", "Microsoft.Storage"])), 0);
    assert_eq!(count(&log(&["--max-events", "2"])), 2);
    let long_ago = [
        "--start-time",
        "2020-01-01T00:00:00Z",
        "--end-time",
        "2020-01-02T00:00:00Z",
    ];
    let ended = [&["monitor", "activity-log", "list"][..], &long_ago].concat();
    assert_eq!(count(&az.json(&ended)), 0);
}

/// Signs in as a program that the operator has just made.
fn signed_in<'a>(az: &Az<'a>, made: &Value) -> Az<'a> {
    let text = |at: &str| member(made, at).to_owned();
    az.as_program(&text("/clientId"), &text("/secret"), &text("/tenantId"))
}

#[test]
fn az_reads_deploys_and_is_refused_under_several_identities() {
    let server = start(Options::new(BINARY));
    let az = Az::connect(&server);
    az.json(&["group", "create", "-n", "rg", "-l", "eastus"]);
    let create = [
        "sig",
        "create",
        "-g",
        "rg",
        "-r",
        "sig",
        "--permissions",
        "groups",
    ];
    let gallery = az.json(&create);
    let unique = member(&gallery, "/identifier/uniqueName").to_owned();
    az.shell(
        "az sig image-definition create -g rg -r sig -i debian -p acme -f debian -s 12 --os-type Linux --hyper-v-generation V2 \
         --features SecurityType=Standard -o none\n\
         az disk create -g rg -n source -l eastus --size-gb 1 --os-type Linux -o none\n\
         az sig image-version create -g rg -r sig -i debian -e 1.0.0 --target-regions eastus \
         --os-snapshot $(az disk show -g rg -n source --query id -o tsv) -o none",
    );
    let version = ["-g", "rg", "-r", "sig", "-i", "debian", "-e", "1.0.0"];
    let version = az.json(&[&["sig", "image-version", "show"][..], &version].concat());
    let version = member(&version, "/id").to_owned();

    let made = verb(
        &server,
        &["principal", "create-service-principal", "reader"],
    );
    let scope = member(&gallery, "/id").to_owned();
    let reader_id = member(&made, "/clientId").to_owned();
    az.json(&[
        "role",
        "assignment",
        "create",
        "--role",
        "Reader",
        "--scope",
        &scope,
        "--assignee",
        &reader_id,
    ]);
    let reader = signed_in(&az, &made);
    let list = [
        "sig",
        "image-version",
        "list",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "debian",
    ];
    assert_eq!(count(&reader.json(&list)), 1);
    let which = ["-g", "rg", "-r", "sig", "-i", "debian", "-e", "1.0.0"];
    for refused in [
        [&["sig", "image-version", "delete"][..], &which].concat(),
        vec!["sig", "delete", "-g", "rg", "-r", "sig"],
        vec!["sig", "share", "reset", "-g", "rg", "-r", "sig"],
        vec![
            "disk",
            "create",
            "-g",
            "rg",
            "-n",
            "mine",
            "-l",
            "eastus",
            "--gallery-image-reference",
            &version,
        ],
        vec![
            "disk",
            "grant-access",
            "-g",
            "rg",
            "-n",
            "source",
            "--duration-in-seconds",
            "60",
        ],
    ] {
        let said = reader.fails(&refused);
        assert!(said.contains("AuthorizationFailed"), "{refused:?}: {said}");
    }
    guests(&az, &server, &unique, &version);
}

/// A subscription of another tenant: nothing, then what is shared, then nothing again.
fn guests(az: &Az<'_>, server: &Gallery, unique: &str, version: &str) {
    verb(
        server,
        &[
            "tenant",
            "create",
            "--name",
            "Other",
            "--domain",
            "other.example",
        ],
    );
    let made = verb(
        server,
        &[
            "principal",
            "create-service-principal",
            "guest",
            "--tenant",
            "other.example",
        ],
    );
    let owner = member(&made, "/clientId");
    let own = verb(
        server,
        &[
            "subscription",
            "create",
            "--name",
            "Other",
            "--tenant",
            "other.example",
            "--owner",
            owner,
        ],
    );
    let own = member(&own, "/subscriptionId");
    let guest = signed_in(az, &made);
    guest.json(&["group", "create", "-n", "theirs", "-l", "eastus"]);
    let shared = format!("/SharedGalleries/{unique}/Images/debian/Versions/latest");
    let deploy = |name: &str, image: &str| {
        let words = [
            "disk",
            "create",
            "-g",
            "theirs",
            "-l",
            "eastus",
            "-n",
            name,
            "--gallery-image-reference",
            image,
        ];
        words.map(str::to_owned)
    };
    let refused = |name: &str, image: &str, code: &str| {
        let words = deploy(name, image);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = guest.fails(&words);
        assert!(said.contains(code), "{words:?}: {said}");
    };
    let listed = ["sig", "list-shared", "-l", "eastus"];
    assert_eq!(count(&guest.json(&listed)), 0);
    refused("before", &shared, "GalleryImageNotFound");
    refused("owned", version, "LinkedAuthorizationFailed");
    let group = ["-g", "rg", "-r", "sig", "--subscription-ids", own];
    az.json(&[&["sig", "share", "add"][..], &group].concat());
    assert_eq!(count(&guest.json(&listed)), 1);
    let words = deploy("made", &shared);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    guest.json(&words);
    az.json(&[&["sig", "share", "remove"][..], &group].concat());
    assert_eq!(count(&guest.json(&listed)), 0);
    refused("after", &shared, "GalleryImageNotFound");
    let kept = guest.json(&["disk", "show", "-g", "theirs", "-n", "made"]);
    assert_eq!(member(&kept, "/provisioningState"), "Succeeded");
}
