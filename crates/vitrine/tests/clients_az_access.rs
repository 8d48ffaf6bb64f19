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
    let community = az.json(&["sig", "list-community", "-l", "eastus"]);
    assert_eq!(count(&community), 0, "{community}");
    let log = az.json(&[
        "monitor",
        "activity-log",
        "list",
        "-g",
        "rg",
        "--offset",
        "1h",
    ]);
    assert!(count(&log) >= 6, "{log}");
    let failed = az.json(&[
        "monitor",
        "activity-log",
        "list",
        "--status",
        "Failed",
        "--offset",
        "1h",
    ]);
    assert_eq!(count(&failed), 0, "{failed}");
}
