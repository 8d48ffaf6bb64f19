//! A script for a guest: how its agent is told to run it.
//!
//! A script goes in by the standard input, not by the command line, which has a limit and is seen by everybody in the guest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::agent::GuestCommand;

/// Where a shell finds programs: an agent that is given an environment passes on nothing of its own.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Puts what it reads into a file and runs that, without a standard input: a script must not eat itself.
const LAUNCH: &str = r#"umask 077
script=$(mktemp) && cat > "$script" && chmod 700 "$script" || exit 126
RUN "$@" < /dev/null
code=$?
rm -f "$script"
exit $code"#;

/// What a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `/bin/sh`, or what the script's first line names.
    Posix,
    /// Windows `PowerShell`.
    PowerShell,
}

impl Shell {
    /// Returns what the agent in the guest is to start to end a script.
    pub fn kill(self, number: i64) -> GuestCommand {
        let (path, arguments) = match self {
            Self::Posix => (
                "/bin/sh",
                vec!["-c".to_owned(), format!("kill -KILL {number}")],
            ),
            Self::PowerShell => {
                let words = ["/F", "/T", "/PID"].map(str::to_owned).into_iter();
                ("taskkill.exe", words.chain([number.to_string()]).collect())
            }
        };
        GuestCommand {
            path: path.to_owned(),
            arguments,
            environment: Vec::new(),
            input: Vec::new(),
        }
    }
}

/// A script with its parameters.
///
/// It is secret: nothing here prints it.
pub struct Script {
    /// What runs it.
    pub shell: Shell,
    /// Its text.
    pub text: String,
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
}

impl Script {
    /// Returns what the agent in the guest is to start.
    ///
    /// A POSIX script gets the values as `$1`, `$2`, … and those whose name can be one as variables; a
    /// `PowerShell` script gets them by their names, the others in order.
    pub fn command(&self) -> GuestCommand {
        match self.shell {
            Shell::Posix => self.posix(),
            Shell::PowerShell => self.power_shell(),
        }
    }

    fn posix(&self) -> GuestCommand {
        // Nobody asks a file for its first line where no other file system may be executed.
        let run = match self.text.starts_with("#!") {
            true => r#""$script""#,
            false => r#"/bin/sh "$script""#,
        };
        let mut arguments = vec![
            "-c".to_owned(),
            LAUNCH.replace("RUN", run),
            "script".to_owned(),
        ];
        arguments.extend(self.parameters.iter().map(|(_, value)| value.clone()));
        let mut environment = vec![PATH.to_owned()];
        // Not where programs are found: the script has to be put into its file first.
        let named = self
            .parameters
            .iter()
            .filter(|(name, _)| is_name(name) && name != "PATH");
        environment.extend(named.map(|(name, value)| format!("{name}={value}")));
        let mut input = self.text.clone().into_bytes();
        if !input.ends_with(b"\n") {
            input.push(b'\n');
        }
        GuestCommand {
            path: "/bin/sh".to_owned(),
            arguments,
            environment,
            input,
        }
    }

    fn power_shell(&self) -> GuestCommand {
        let mut launch = "[Console]::InputEncoding = [Console]::OutputEncoding = [Text.UTF8Encoding]::new($false); \
             & ([ScriptBlock]::Create([Console]::In.ReadToEnd()))"
            .to_owned();
        for (name, value) in &self.parameters {
            let value = value.replace('\'', "''");
            match is_name(name) {
                true => launch.push_str(&format!(" -{name} '{value}'")),
                false => launch.push_str(&format!(" '{value}'")),
            }
        }
        let utf16: Vec<u8> = launch.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let words = [
            "-NoProfile",
            "-NonInteractive",
            "-ExecutionPolicy",
            "Unrestricted",
            "-EncodedCommand",
            &STANDARD.encode(utf16),
        ];
        GuestCommand {
            path: "powershell.exe".to_owned(),
            arguments: words.map(str::to_owned).to_vec(),
            environment: Vec::new(),
            input: self.text.clone().into_bytes(),
        }
    }
}

/// Whether a shell can have a variable of this name.
fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::{Script, Shell};

    fn script(shell: Shell, text: &str, parameters: &[(&str, &str)]) -> Script {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Script {
            shell,
            text: text.to_owned(),
            parameters: parameters.iter().map(own).collect(),
        }
    }

    /// Does what the agent does.
    #[expect(clippy::disallowed_methods, reason = "plays the agent")]
    fn run(text: &str, parameters: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let command = script(Shell::Posix, text, parameters).command();
        let environment = command.environment.iter();
        let mut child = Command::new(&command.path)
            .args(&command.arguments)
            .env_clear()
            .envs(environment.filter_map(|set| set.split_once('=')))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(&command.input).expect("written");
        drop(stdin);
        let done = child.wait_with_output().expect("ended");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (done.status.code(), text(done.stdout), text(done.stderr))
    }

    #[test]
    fn a_posix_script_gets_its_parameters_by_name_and_by_place() {
        let hostile = "a'b\"c $(touch /tmp/x) `id`\n;";
        let parameters = [("arg1", "one"), ("two words", "2"), ("three", hostile)];
        let (code, out, err) = run(
            "printf '%s|' \"$arg1\" \"$1\" \"$2\" \"$3\" \"$three\"; cat; echo oops >&2; exit 7",
            &parameters,
        );
        assert_eq!(code, Some(7));
        assert_eq!(out, format!("one|one|2|{hostile}|{hostile}|"));
        assert_eq!(err, "oops\n");
        let (code, out, _) = run("#!/usr/bin/env -S sed -n 2p\nsecond line", &[]);
        assert_eq!((code, &*out), (Some(0), "second line\n"));
        let (_, out, _) = run("echo $PATH", &[("PATH", "/nowhere")]);
        assert!(out.contains("/usr/bin"), "{out}");
    }

    #[test]
    fn a_script_may_be_longer_than_a_command_line() {
        let long = format!("# {}\necho done", "x".repeat(300_000));
        assert_eq!(
            run(&long, &[]),
            (Some(0), "done\n".to_owned(), String::new())
        );
    }

    #[test]
    fn a_power_shell_script_is_read_from_the_input() {
        let script = script(
            Shell::PowerShell,
            "Write-Host $name",
            &[("name", "it's"), ("-x", "y")],
        );
        let command = script.command();
        assert_eq!(command.path, "powershell.exe");
        assert_eq!(command.input, b"Write-Host $name");
        let encoded = STANDARD
            .decode(command.arguments.last().expect("there"))
            .expect("base64");
        let units = encoded
            .chunks(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let launch: String = char::decode_utf16(units)
            .map(|c| c.expect("UTF-16"))
            .collect();
        assert!(
            launch.ends_with("ReadToEnd())) -name 'it''s' 'y'"),
            "{launch}"
        );
    }
}
