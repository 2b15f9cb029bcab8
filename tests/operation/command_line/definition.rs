//! Help, completions and manual pages: they cover every command, and shells accept the scripts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use gatepost::cli::Arguments;

use crate::common::binary;

fn gatepost(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs the program, which must succeed and write nothing to standard error; its standard output.
fn printed(arguments: &[&str]) -> String {
    let output = gatepost(arguments);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{arguments:?}: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}

/// The definition of the command line, with what each command inherits.
fn definition() -> clap::Command {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Every command, with the words that select it: none for gatepost itself.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    fn collect(words: &[String], command: &clap::Command, all: &mut Vec<(Vec<String>, clap::Command)>) {
        all.push((words.to_vec(), command.clone()));
        for below in command.get_subcommands() {
            let words = [words, &[below.get_name().to_owned()]].concat();
            collect(&words, below, all);
        }
    }
    let mut all = Vec::new();
    collect(&[], &definition(), &mut all);
    assert!(all.len() > 15, "only {} commands were seen: is the test blind?", all.len());
    all
}

fn joined<'a>(before: &[&'a str], words: &'a [String], after: &[&'a str]) -> Vec<&'a str> {
    before.iter().copied().chain(words.iter().map(String::as_str)).chain(after.iter().copied()).collect()
}

/// The name of a command's manual page, without its section.
fn page_name(words: &[String]) -> String {
    joined(&["gatepost"], words, &[]).join("-")
}

/// A text as it stands in a manual page.
fn escaped(text: &str) -> String {
    text.replace('-', "\\-").replace('\'', "\\*(Aq")
}

fn long_options(command: &clap::Command) -> BTreeSet<String> {
    command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect()
}

/// Runs a shell's script with the built program first on the path; its lines.
fn shell(name: &str, script: &str) -> BTreeSet<String> {
    let folder = Path::new(binary()).parent().unwrap().to_str().unwrap();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let no_startup_files = match name {
        "bash" => &["--noprofile", "--norc"][..],
        "zsh" => &["-f"],
        _ => &["--no-config"],
    };
    let output = Command::new(name)
        .args(no_startup_files)
        .args(["-c", script])
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{name}: {script}\n{complaints}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The completions that bash offers for the last of these words.
fn offered_by_bash(words: &[&str]) -> BTreeSet<String> {
    let last = words.len() - 1;
    let (current, previous) = (words[last], words[last - 1]);
    let script = format!(
        "source <(gatepost completions bash) || exit\n\
         compopt() {{ :; }} # which bash has only while somebody types\n\
         registered=($(complete -p gatepost))\n\
         for ((i = 0; i < ${{#registered[@]}}; i++)); do\n\
         [[ ${{registered[i]}} = -F ]] && complete_with=${{registered[i + 1]}}\n\
         done\n\
         COMP_WORDS=({words}) COMP_CWORD={last}\n\
         \"$complete_with\" gatepost '{current}' '{previous}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
    );
    shell("bash", &script)
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn help_exists_for_every_command() {
    for (words, command) in commands() {
        let about = command.get_about().unwrap().to_string();
        for arguments in
            [joined(&["help"], &words, &[]), joined(&[], &words, &["--help"]), joined(&[], &words, &["-h"])]
        {
            let text = printed(&arguments).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&about), "{arguments:?} doesn't say {about:?}: {text}");
        }
    }
    assert!(printed(&["help"]).contains("Exit status: 0"));
    assert_eq!(gatepost(&["help", "nonsense"]).status.code(), Some(2));
}

#[test]
fn bash_loads_the_completions_and_completes_commands_and_options() {
    assert_eq!(offered_by_bash(&["gatepost", "cred"]), set(&["credential"]));
    assert_eq!(offered_by_bash(&["gatepost", "credential", "ed"]), set(&["edit"]));
    assert_eq!(offered_by_bash(&["gatepost", "account", "remove", "--y"]), set(&["--yes"]));
    assert_eq!(offered_by_bash(&["gatepost", "completions", "z"]), set(&["zsh"]));
    assert_eq!(offered_by_bash(&["gatepost", "help", "acc"]), set(&["account"]));
    // A value that is no file is left as it was typed.
    for option in ["--account", "--permissions"] {
        let offered = offered_by_bash(&["gatepost", "credential", "add", option, "C"]);
        assert_eq!(offered, set(&["C"]), "{option}");
    }
    assert!(offered_by_bash(&["gatepost", "check", "--config", "Car"]).contains("Cargo.toml"));
    for (words, command) in commands() {
        let offered = offered_by_bash(&joined(&["gatepost"], &words, &["--"]));
        assert_eq!(offered, long_options(&command), "{words:?}");
    }
}

#[test]
fn fish_loads_the_completions_and_completes_commands_and_options() {
    let offered = |line: &str| -> BTreeSet<String> {
        let lines = shell("fish", &format!("gatepost completions fish | source\ncomplete -C '{line}'"));
        lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    assert_eq!(offered("gatepost cred"), set(&["credential"]));
    assert_eq!(offered("gatepost credential ed"), set(&["edit"]));
    assert_eq!(offered("gatepost account remove --y"), set(&["--yes"]));
}

#[test]
fn zsh_loads_the_completions() {
    let script = "autoload -U compinit && compinit -D -u\n\
                  source <(gatepost completions zsh)\n\
                  print -r -- $_comps[gatepost]\n\
                  _describe() { print -rl -- ${(P)4} }\n\
                  _gatepost_commands";
    let lines = shell("zsh", script);
    assert!(lines.contains("_gatepost"), "{lines:?}");
    for command in definition().get_subcommands() {
        let entry = format!("{}:{}", command.get_name(), command.get_about().unwrap());
        assert!(lines.contains(&entry), "{entry} is missing in {lines:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    for (words, command) in commands() {
        let page = printed(&joined(&["man"], &words, &[]));
        let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(title, format!(".TH {} 1 \" \" \"gatepost {version}\" Gatepost", page_name(&words)));
        let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert!(
            sections.starts_with(&["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"]),
            "{words:?}: {sections:?}"
        );
        let summary = escaped(&format!("{} - {}", page_name(&words), command.get_about().unwrap()));
        assert!(page.contains(&format!("\n{summary}\n")), "{words:?}: {page}");
        for option in long_options(&command) {
            assert!(page.contains(&escaped(&option)), "{words:?}: {option}");
        }
        for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
            let macros = [".TH", ".SH", ".TP", ".PP", ".RS", ".RE", ".IP", ".br", ".ie", ".el"];
            assert!(macros.contains(&line.split(' ').next().unwrap()), "{words:?}: {line}");
        }
    }
    for unknown in [&["man", "nonsense"][..], &["man", "credential", "nonsense"]] {
        let output = gatepost(unknown);
        assert_eq!(output.status.code(), Some(2), "{unknown:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("unknown command"), "{output:?}");
    }
}

#[test]
fn all_manual_pages_are_written_into_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("share/man/man1");
    printed(&["man", "--directory", directory.to_str().unwrap()]);
    let mut expected = BTreeSet::new();
    for (words, command) in commands() {
        let name = format!("{}.1", page_name(&words));
        let page =
            fs::read_to_string(directory.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(page, printed(&joined(&["man"], &words, &[])), "{name}");
        expected.insert(name);
        for below in command.get_subcommands() {
            let reference = escaped(&format!("{}(1)", below.get_display_name().unwrap()));
            assert!(page.contains(&reference), "{words:?} doesn't refer to {reference}");
        }
    }
    let written = fs::read_dir(&directory).unwrap();
    let written: BTreeSet<_> =
        written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(written, expected);

    let output = gatepost(&["man", "--directory", "/dev/null/man"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("/dev/null/man: cannot be written"),
        "{output:?}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
    for arguments in [&["completions", "bash"][..], &["man"], &["man", "credential", "add"], &["help"]] {
        let status = |stdout: Stdio| {
            let output =
                Command::new(binary()).args(arguments).stdout(stdout).stderr(Stdio::piped()).output();
            let output = output.unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = status(Stdio::from(writer));
        assert_eq!(gone, (Some(0), String::new()), "{arguments:?}");
        if arguments != ["help"] {
            let full = status(Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap()));
            assert_eq!(full.0, Some(1), "{arguments:?}");
            assert!(full.1.contains("standard output"), "{arguments:?}: {}", full.1);
        }
    }
}
