//! Commands in a guest: what may be asked, when, and what is answered.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use domain::virtual_machine::{CommandFailure, CommandId, Power, RunCommand, SCRIPT_BYTES_MAX};
use domain::{Error, Kind, Resource, ResourceId};
use serde_json::{Value, json};

fn refusal(body: &Value) -> Error {
    RunCommand::parse(body).err().unwrap()
}

fn machine(power: Power, system: &str) -> Resource {
    let id = ResourceId::group("s", "rg").child(Kind::VirtualMachine, "one");
    let mut row = Resource::new(id, Kind::VirtualMachine, "eastus", 7);
    let profile = json!({ "osDisk": { "osType": system } });
    row.properties.insert("storageProfile".to_owned(), profile);
    power.set(&mut row);
    row
}

#[test]
fn lines_are_joined_and_parameters_kept_in_order() {
    let body = json!({
        "commandId": "runshellscript",
        "script": ["echo $1", "exit 3"],
        "parameters": [{ "name": "b", "value": "2" }, { "name": "a", "value": "" }],
    });
    let asked = RunCommand::parse(&body).unwrap();
    assert_eq!(asked.id, CommandId::Shell);
    assert_eq!(asked.script, "echo $1\nexit 3");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(asked.parameters, [pair("b", "2"), pair("a", "")]);
    let again = RunCommand::from_secrets(asked.id, &asked.to_secrets()).unwrap();
    assert_eq!(again.script, asked.script);
    assert_eq!(again.parameters, asked.parameters);
}

#[test]
fn without_a_script_the_sample_of_the_command_runs() {
    for id in CommandId::ALL {
        let asked = RunCommand::parse(&json!({ "commandId": id.as_str(), "script": [] })).unwrap();
        assert!(asked.script.contains("This is a sample script"));
        let document = id.document();
        let lines: Vec<&str> = document["script"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_str().unwrap())
            .collect();
        assert_eq!(lines.join("\n"), asked.script);
        assert_eq!(document["osType"], id.system());
        assert!(id.summary().get("script").is_none());
    }
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let refused = refusal(&json!({ "script": ["id"] }));
    assert_eq!(refused.target.as_deref(), Some("commandId"));
    let refused = refusal(&json!({ "commandId": "ifconfig" }));
    assert_eq!(
        (&*refused.code, &*refused.message),
        (
            "NotFound",
            "The entity was not found in this Azure location."
        )
    );
    let script = |script: String| json!({ "commandId": "RunShellScript", "script": [script] });
    assert!(RunCommand::parse(&script("x".repeat(SCRIPT_BYTES_MAX))).is_ok());
    let refused = refusal(&script("x".repeat(SCRIPT_BYTES_MAX + 1)));
    assert_eq!(refused.target.as_deref(), Some("script"));
    let many: Vec<Value> = (0..101)
        .map(|_| json!({ "name": "a", "value": "b" }))
        .collect();
    for parameters in [
        json!(many),
        json!([{ "name": "a", "value": "x".repeat(32 << 10) }]),
        json!([{ "name": "a", "value": "x\0" }]),
    ] {
        let refused = refusal(&json!({ "commandId": "RunShellScript", "parameters": parameters }));
        assert_eq!(refused.target.as_deref(), Some("parameters"));
    }
}

#[test]
fn a_command_needs_a_running_machine_of_its_system() {
    let asked = |id: &str| RunCommand::parse(&json!({ "commandId": id })).unwrap();
    let shell = asked("RunShellScript");
    assert!(
        shell
            .check(&machine(Power::Running, "Linux"), false)
            .is_ok()
    );
    assert!(
        asked("RunPowerShellScript")
            .check(&machine(Power::Running, "Windows"), false)
            .is_ok()
    );
    let stopped = [Power::Created, Power::Stopped, Power::Deallocated].map(|power| (power, false));
    for (power, is_down) in stopped.into_iter().chain([(Power::Running, true)]) {
        let refused = shell
            .check(&machine(power, "Linux"), is_down)
            .err()
            .unwrap();
        assert_eq!(&*refused.code, "OperationNotAllowed");
        assert_eq!(
            refused.message,
            "Cannot modify extensions in the VM when the VM is not running."
        );
    }
    let refused = shell
        .check(&machine(Power::Running, "Windows"), false)
        .err()
        .unwrap();
    assert_eq!(refused.target.as_deref(), Some("commandId"));
    assert!(
        refused
            .message
            .contains("is for Linux and VM 'one' runs Windows"),
        "{}",
        refused.message
    );
}

#[test]
fn answers_have_the_recorded_form() {
    let recorded = json!({ "value": [{
        "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded",
        "message": "Enable succeeded: \n[stdout]\n\n[stderr]\nwarning: commands will be executed using /bin/sh\n",
    }] });
    let err = "warning: commands will be executed using /bin/sh\n";
    assert_eq!(CommandId::Shell.answer("", err), recorded);
    let both = CommandId::PowerShell.answer("out", "err");
    assert_eq!(both["value"][0]["code"], "ComponentStatus/StdOut/succeeded");
    assert_eq!(both["value"][1]["message"], "err");
}

#[test]
fn a_failure_says_what_to_do_and_never_that_a_script_will_run_again() {
    let error = |why: CommandFailure| why.error(CommandId::Shell, "one");
    let agent = error(CommandFailure::NoAgent);
    assert_eq!(&*agent.code, "VMAgentStatusCommunicationError");
    assert!(
        agent.message.contains("'qemu-guest-agent'"),
        "{}",
        agent.message
    );
    assert!(
        error(CommandFailure::Unclear)
            .message
            .contains("not run again")
    );
    assert_eq!(&*error(CommandFailure::Stopped).code, "OperationPreempted");
    let refused = error(CommandFailure::Refused("it is disabled".to_owned()));
    assert!(
        refused.message.contains("'RunCommandLinux'") && refused.message.contains("it is disabled")
    );
}
