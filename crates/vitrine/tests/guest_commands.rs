//! Commands in a real guest with a real agent, asked for by the real Azure CLI.

mod az;
mod guests;

use std::fmt::Write as _;
use std::path::Path;

use az::{Az, count, member};
use guests::{GUEST, VERSION, World, body};
use serde_json::{Value, json};
use testkit::{Gallery, until};

/// In no file and no log, whatever a script or its output held.
const CANARY: &str = "CANARY-in-a-guest-52c1e0";
/// What the log says when an agent has taken a command.
const TAKEN: &str = "a command runs in a guest";

async fn world() -> World {
    let options = World::options().env(
        "VITRINE_LOG",
        "info,engine=trace,vm=trace,api=trace,catalog=trace,sqlx=trace",
    );
    let server = Gallery::start(options).await;
    World::of(server, "VITRINE_TEST_AGENT").await
}

/// Runs `az vm run-command invoke` on the machine `one`.
fn invoke<'a>(script: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["vm", "run-command", "invoke", "-g", "rg", "-n", "one"];
    let what = ["--command-id", "RunShellScript", "--scripts", script];
    [&words[..], &what, more].concat()
}

/// Returns what a script said: standard output and error.
fn said(answer: &Value) -> (String, String) {
    assert_eq!(count(&answer["value"]), 1, "{answer}");
    let status = &answer["value"][0];
    assert_eq!(member(status, "/code"), "ProvisioningState/succeeded");
    assert_eq!(member(status, "/level"), "Info");
    let message = member(status, "/message");
    let outputs = message.strip_prefix("Enable succeeded: \n[stdout]\n");
    let outputs = outputs.unwrap_or_else(|| panic!("{message}"));
    let (out, err) = outputs.split_once("\n[stderr]\n").expect("both outputs");
    (out.to_owned(), err.to_owned())
}

impl World {
    /// Has a command accepted; returns the URL of its operation.
    async fn begin(&self, script: &str) -> String {
        let taken = self.taken();
        let id = format!("{}/runCommand", self.machine("one"));
        let asked = json!({ "commandId": "RunShellScript", "script": [script] });
        let answer = self
            .scene
            .arm
            .send("POST", &id, VERSION, Some(&asked))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let url = answer
            .header("azure-asyncoperation")
            .expect("a URL")
            .to_owned();
        until("the agent takes it", GUEST, || async {
            (self.taken() > taken).then_some(())
        })
        .await;
        url
    }

    fn taken(&self) -> usize {
        self.server.log_text().matches(TAKEN).count()
    }
}

/// Returns the same URL at the server that came after.
fn moved(url: &str, server: &Gallery) -> String {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    format!("{}/{path}", server.endpoint())
}

fn ran(status: &Value) -> (String, String) {
    assert_eq!(status["status"], "Succeeded", "{status}");
    said(&status["properties"]["output"])
}

fn failed<'a>(status: &'a Value, state: &str, code: &str) -> &'a str {
    assert_eq!(status["status"], state, "{status}");
    assert_eq!(member(&status["error"], "/code"), code);
    member(&status["error"], "/message")
}

fn holds(directory: &Path, text: &str, found: &mut String) {
    for entry in std::fs::read_dir(directory).expect("it can be listed") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            holds(&path, text, found);
        } else if std::fs::read(&path).is_ok_and(|bytes| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        }) {
            let _ = writeln!(found, "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn az_runs_commands_in_a_guest_and_hears_the_truth_whatever_happens_to_it() {
    let mut world = world().await;
    world
        .make("one", &body(&world.scene.version("1.0.0"), "one", ""))
        .await;
    let az = Az::connect(&world.server);
    let run = |words: Vec<&str>| tokio::task::block_in_place(|| az.json(&words));
    let refused = |words: Vec<&str>| tokio::task::block_in_place(|| az.fails(&words));

    // Asked while the guest boots: it waits for the agent.
    let script = format!("echo \"out $1 $name\"; echo {CANARY} >&2; exit 3");
    let answer = run(invoke(
        &script,
        &["--parameters", "first", "name=the second"],
    ));
    assert_eq!(
        said(&answer),
        ("out first the second\n".to_owned(), format!("{CANARY}\n"))
    );
    let view = world.view("one").await;
    let agent = &view["vmAgent"];
    assert!(member(agent, "/vmAgentVersion").starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(member(agent, "/statuses/0/displayStatus"), "Ready");

    what_can_be_asked(&az);

    let long = world.server.scratch().join("long.sh");
    let text = format!(
        "#!/bin/sh\n# {}\nwc -c < \"$0\"\ncat\n",
        "x".repeat(64 << 10)
    );
    std::fs::write(&long, &text).expect("it can be written");
    let file = format!("@{}", long.display());
    let (out, err) = said(&run(invoke(&file, &[])));
    assert_eq!((out.trim(), &*err), (&*text.len().to_string(), ""));
    let (out, err) = said(&run(invoke(
        "yes | head -c 3000000; echo the end; yes no | head -c 5000 >&2",
        &[],
    )));
    assert_eq!((out.len(), err.len()), (4096, 4096));
    assert!(out.ends_with("y\nthe end\n") && err.ends_with("no\nno"));

    let first = world.begin("sleep 5; echo slept").await;
    let text = refused(invoke("echo second", &[]));
    assert!(
        text.contains("(Conflict) Run command extension execution is in progress."),
        "{text}"
    );
    assert_eq!(ran(&world.scene.arm.poll(&first).await).0, "slept\n");

    // The server is killed while a command runs: the next one reads how it ended.
    let running = world.begin("sleep 8; echo survived").await;
    world.restart().await;
    let url = moved(&running, &world.server);
    assert_eq!(ran(&world.scene.arm.poll(&url).await).0, "survived\n");

    stopped(&world).await;
    agent_killed(&world).await;
    assert!(world.server.stop());
    let mut found = String::new();
    holds(&world.server.data(), CANARY, &mut found);
    assert!(found.is_empty(), "a secret is in\n{found}");
    assert!(!world.server.log_text().contains(CANARY));
}

/// What `az` lists, and what it is refused.
fn what_can_be_asked(az: &Az<'_>) {
    let listed =
        tokio::task::block_in_place(|| az.json(&["vm", "run-command", "list", "-l", "eastus"]));
    let ids: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| member(one, "/id"))
        .collect();
    assert_eq!(ids, ["RunPowerShellScript", "RunShellScript"]);
    let show = ["vm", "run-command", "show", "-l", "eastus", "--command-id"];
    let shown = tokio::task::block_in_place(|| az.json(&[&show[..], &["RunShellScript"]].concat()));
    assert_eq!(member(&shown, "/osType"), "Linux");
    assert_eq!(count(&shown["parameters"]), 2);
    let sample = [
        "vm",
        "run-command",
        "invoke",
        "-g",
        "rg",
        "-n",
        "one",
        "--command-id",
    ];
    for (id, text) in [
        (
            "NoScript",
            "(NotFound) The entity was not found in this Azure location.",
        ),
        (
            "RunPowerShellScript",
            "is for Windows and VM 'one' runs Linux",
        ),
    ] {
        let said = tokio::task::block_in_place(|| az.fails(&[&sample[..], &[id]].concat()));
        assert!(said.contains(text), "{said}");
    }
}

/// A command ends with its machine, and none is taken while that stands still.
async fn stopped(world: &World) {
    let running = world.begin("sleep 1000").await;
    world.act("one", "powerOff").await;
    let status = world.scene.arm.poll(&running).await;
    let text = failed(&status, "Canceled", "OperationPreempted");
    assert!(
        text.contains("'one' was stopped while the script ran"),
        "{text}"
    );
    let id = format!("{}/runCommand", world.machine("one"));
    let asked = json!({ "commandId": "RunShellScript", "script": ["id"] });
    let answer = world
        .scene
        .arm
        .send("POST", &id, VERSION, Some(&asked))
        .await;
    assert_eq!((answer.status, answer.code()), (409, "OperationNotAllowed"));
    assert_eq!(
        answer.message(),
        "Cannot modify extensions in the VM when the VM is not running."
    );
    world.act("one", "start").await;
    let again = world.begin("echo again").await;
    assert_eq!(ran(&world.scene.arm.poll(&again).await).0, "again\n");
}

/// An agent that dies with a command under way is told of, and so is a guest that has none.
async fn agent_killed(world: &World) {
    let url = world
        .begin("kill -9 $(cat /tmp/agent.pid); sleep 1000")
        .await;
    let status = world.scene.arm.poll(&url).await;
    let text = failed(&status, "Failed", "VMExtensionProvisioningError");
    assert!(
        text.contains("stopped answering while the script ran"),
        "{text}"
    );
    assert_eq!(
        member(
            &world.view("one").await["vmAgent"],
            "/statuses/0/displayStatus"
        ),
        "Not Ready"
    );
    // A machine's failed command is not its own failure.
    let shown = world
        .scene
        .arm
        .send("GET", &world.machine("one"), VERSION, None)
        .await;
    assert_eq!(shown.body["properties"]["provisioningState"], "Succeeded");
    let id = format!("{}/runCommand", world.machine("one"));
    let asked = json!({ "commandId": "RunShellScript", "script": ["id"] });
    let answer = world
        .scene
        .arm
        .send("POST", &id, VERSION, Some(&asked))
        .await;
    let url = answer.header("azure-asyncoperation").expect("a URL");
    let status = world.scene.arm.poll(url).await;
    let text = failed(&status, "Failed", "VMAgentStatusCommunicationError");
    assert!(
        text.contains("install the package 'qemu-guest-agent'"),
        "{text}"
    );
}
