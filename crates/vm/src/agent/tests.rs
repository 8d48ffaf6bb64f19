//! The guest is played by the test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{Agent, GuestCommand, OUTPUT_BYTES_MAX};
use crate::error::VmError;

const NUMBER: u32 = 7;

struct Guest(BufReader<UnixStream>);

impl Guest {
    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("written");
    }

    async fn give(&mut self, value: Value) {
        self.say(format!("{}\n", json!({"return": value})).as_bytes())
            .await;
    }

    async fn hear(&mut self) -> Value {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).await.expect("read");
        let json = line.strip_prefix(b"\xff").unwrap_or(&line);
        serde_json::from_slice(json).expect("JSON")
    }

    /// Says what comes before the answer to the first question, then answers it.
    async fn sync(&mut self, before: &[u8]) {
        self.say(before).await;
        let asked = self.hear().await;
        assert_eq!(asked["execute"], "guest-sync-delimited");
        self.say(b"\xff").await;
        self.give(asked["arguments"]["id"].clone()).await;
    }
}

fn pair() -> (UnixStream, Guest) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (ours, Guest(BufReader::new(theirs)))
}

/// An agent that has answered the first question.
async fn agent() -> (Agent<UnixStream>, Guest) {
    let (ours, mut guest) = pair();
    let (agent, ()) = tokio::join!(Agent::open(ours, NUMBER), guest.sync(b""));
    (agent.expect("synced"), guest)
}

/// Asks how a command ended and has the guest say `answer`.
async fn asked(answer: &[u8]) -> Result<Option<super::GuestExit>, VmError> {
    let (mut agent, mut guest) = agent().await;
    let says = async {
        guest.hear().await;
        // The agent may hang up on a guest that says too much.
        let _ = guest.0.write_all(answer).await;
    };
    // What is asked is dropped when it is answered: the guest is not listened to any longer.
    let (exit, ()) = tokio::join!(async move { agent.exit(1).await }, says);
    exit
}

fn exited(out: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"return":{{"exited":true,"exitcode":3,"out-data":"{out}"{more}}}}}"#)
        .into_bytes()
        .into_iter()
        .chain(*b"\n")
        .collect()
}

#[tokio::test]
async fn a_command_is_handed_over_and_its_end_read() {
    let (mut agent, mut guest) = agent().await;
    let serve = async {
        assert_eq!(guest.hear().await["execute"], "guest-info");
        guest.give(json!({"version": "7.2.9"})).await;
        let asked = guest.hear().await;
        assert_eq!(asked["execute"], "guest-exec");
        let expected = json!({
            "path": "/bin/sh", "arg": ["-c", "x"], "env": ["A=b"], "input-data": "aGVsbG8=", "capture-output": true,
        });
        assert_eq!(asked["arguments"], expected);
        guest.give(json!({"pid": 42})).await;
        let asked = guest.hear().await;
        assert_eq!(asked["arguments"], json!({"pid": 42}));
        guest.give(json!({"exited": false})).await;
        guest.hear().await;
        let out = STANDARD.encode("done\r\n");
        guest
            .give(json!({"exited": true, "exitcode": 0, "out-data": out}))
            .await;
    };
    let ask = async {
        assert_eq!(agent.version().await.expect("known"), "7.2.9");
        let command = GuestCommand {
            path: "/bin/sh".to_owned(),
            arguments: vec!["-c".to_owned(), "x".to_owned()],
            environment: vec!["A=b".to_owned()],
            input: b"hello".to_vec(),
        };
        let number = agent.exec(&command).await.expect("started");
        assert!(agent.exit(number).await.expect("asked").is_none());
        let exit = agent.exit(number).await.expect("asked").expect("ended");
        assert_eq!((exit.code, &*exit.out, &*exit.err), (Some(0), "done\n", ""));
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn what_was_meant_for_others_is_skipped() {
    let stale =
        b"\x00garbage \xff{\"return\": 6}\n{\"return\":7}\n\xffno json\n\xff\xff".as_slice();
    let (ours, mut guest) = pair();
    let (agent, ()) = tokio::join!(Agent::open(ours, NUMBER), guest.sync(stale));
    assert!(agent.is_ok());
}

#[tokio::test]
async fn a_guest_that_babbles_is_left() {
    let (ours, mut guest) = pair();
    let babble = async {
        // Until we hang up.
        while guest.0.write_all(&[b'x'; 65536]).await.is_ok() {}
    };
    let (agent, ()) = tokio::join!(
        async move { Agent::open(ours, NUMBER).await.err().expect("left") },
        babble
    );
    assert!(matches!(agent, VmError::Agent(_)), "{agent}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_is_silent_has_no_agent() {
    let (ours, mut guest) = pair();
    let error = Agent::open(ours, NUMBER).await.err().expect("silent");
    assert!(matches!(error, VmError::NoAgent), "{error}");
    let mut heard = Vec::new();
    guest.0.read_to_end(&mut heard).await.expect("read");
    assert_eq!(heard[0], 0xff, "whatever was half said before is over");
}

#[tokio::test(start_paused = true)]
async fn nobody_knows_what_became_of_a_command_that_was_not_answered() {
    for answer in [&b""[..], b"{\"return\":{}}\n", b"[]\n", b"nothing\n"] {
        let (mut agent, mut guest) = agent().await;
        let command = GuestCommand {
            path: String::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: Vec::new(),
        };
        let says = async {
            assert!(guest.hear().await["arguments"].get("env").is_none());
            guest.say(answer).await;
        };
        let (started, ()) = tokio::join!(agent.exec(&command), says);
        assert!(matches!(started, Err(VmError::Unclear)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_agents_words_made_safe() {
    let refused = "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no \\u001b[31msuch pid\"}}\n";
    match asked(refused.as_bytes()).await {
        Err(VmError::AgentRefused { reason, .. }) => assert_eq!(reason, "no such pid"),
        _ => panic!("refused"),
    }
}

#[tokio::test]
async fn the_end_of_a_flood_is_kept() {
    let mut flood = "a".repeat(3 << 20);
    flood.push_str("the end");
    let more = r#","out-truncated":true,"err-data":"\u0041"#;
    let more = format!("{more}AAA\"");
    let exit = asked(&exited(&STANDARD.encode(&flood), &more)).await;
    let exit = exit.expect("read").expect("ended");
    let (text, note) = exit.out.split_at(OUTPUT_BYTES_MAX);
    assert!(text.starts_with("aaa") && text.ends_with("the end"));
    assert!(note.contains("kept only the beginning"), "{note}");
    assert_eq!(exit.code, Some(3));
    assert_eq!(exit.err, "\\u{0}\\u{0}\\u{0}");
    // Not into the middle of a character.
    let exit = asked(&exited(&STANDARD.encode("\u{e4}".repeat(4097) + "x"), "")).await;
    let out = exit.expect("read").expect("ended").out;
    assert_eq!(out, "\u{e4}".repeat(2047) + "x");
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    let deep = "[".repeat(100_000);
    let many = format!("{{\"return\":[{}0]}}\n", "\"x\",".repeat(1 << 17));
    for answer in [
        "nothing\n".to_owned(),
        "{\"return\":{\"exited\":\"yes\"}}\n".to_owned(),
        "{\"return\":{\"exited\":true,\"out-data\":\"***\"}}\n".to_owned(),
        "{}\n".to_owned(),
        format!("{deep}\n"),
        many,
    ] {
        let said = asked(answer.as_bytes()).await.err().expect("refused");
        assert!(matches!(said, VmError::Agent(_)), "{said}");
    }
}
