//! A script of scenarios and what it asks for: gateways, accounts, commands. The script drives the browser.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::common::accounts::{add_account, add_credential, create_database, fill};
use crate::common::fake_clock::FakeClock;
use crate::common::servers::script;
use crate::common::tls::Authority;
use crate::common::{Gateway, binary, configured, end_of, installed, own_loopback};

/// Runs a script of tests/clients/web. All of these scenarios have to succeed, and it may have no others.
pub fn play(name: &str, scenarios: &[&str]) {
    let mut stage = Stage::new();
    let mut player = Player(stage.start_script(name));
    let lines = BufReader::new(player.0.stdout.take().unwrap()).lines();
    let mut input = player.0.stdin.take().unwrap();
    let (mut failed, mut done) = (Vec::new(), BTreeSet::new());
    for line in lines {
        let line = line.unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Some(what) = told["ask"].as_str() {
            let answer = json!({"id": told["id"], "answer": stage.answer(what, &told)});
            writeln!(input, "{answer}").unwrap();
            continue;
        }
        let (scenario, detail) = (told["scenario"].as_str().unwrap(), told["detail"].as_str().unwrap());
        println!("{scenario}: {detail}");
        done.insert(scenario.to_owned());
        if told["ok"] != true {
            failed.push(format!("{scenario}: {detail}"));
        }
    }
    let status = end_of(&mut player.0, name);
    assert!(status.success(), "{name}: {status}");
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), done.len(), failed.join("\n\n"));
    let expected = scenarios.iter().map(|&scenario| scenario.to_owned());
    assert!(std::env::var_os("ONLY").is_some() || done == expected.collect(), "{name}: {done:?}");
}

/// A script that runs; ended when dropped.
struct Player(Child);

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a script plays with.
struct Stage {
    /// `cert.pem` and `key.pem` of all servers.
    identity: tempfile::TempDir,
    /// The address of every name.
    address: IpAddr,
    sites: HashMap<String, Site>,
}

struct Site {
    gateway: Gateway,
    clock: FakeClock,
}

impl Stage {
    fn new() -> Stage {
        let identity = tempfile::tempdir().unwrap();
        Authority::new().issue("app.acme.test").write(identity.path());
        Stage { identity, address: own_loopback(), sites: HashMap::new() }
    }

    fn start_script(&self, name: &str) -> Child {
        Command::new("node")
            .arg(script("web").join(name))
            .env("CLIENT", installed("playwright/node_modules/playwright-core"))
            .env("AXE", installed("axe/node_modules/axe-core"))
            .env("IDENTITY", self.identity.path())
            .env("ADDRESS", self.address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Does what the script asks for.
    fn answer(&mut self, what: &str, told: &Value) -> Value {
        let text = |key: &str| told[key].as_str().unwrap_or_else(|| panic!("{key} is missing: {told}"));
        let name = text("name");
        if what == "start" {
            return self.start(name, text);
        }
        let Site { gateway, clock } = self.sites.get_mut(name).unwrap();
        match what {
            "account" => {
                let (name, password) = text("login").split_once(':').unwrap();
                add_account(&gateway.config(), name, password, text("rights"));
            }
            "credential" => {
                let (name, password) = text("login").split_once(':').unwrap();
                add_credential(&gateway.config(), text("account"), name, password, text("permissions"));
            }
            "fill" => {
                let count = told["count"].as_u64().unwrap();
                fill(&gateway.config(), text("account"), text("prefix"), count);
            }
            "command" => {
                let arguments =
                    told["arguments"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
                let output = gateway.command(&arguments.collect::<Vec<_>>(), text("input"));
                let [stdout, stderr] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
                return json!({"status": output.status.code(), "stdout": stdout, "stderr": stderr});
            }
            "log" => {
                let words = told["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
                return gateway.log().wait_for(&words.collect::<Vec<_>>()).into();
            }
            "clock" => clock.set(text("offset")),
            "restart" => {
                gateway.kill();
                gateway.restart();
                wait_until_it_listens(gateway);
            }
            other => panic!("the script asks for {other}"),
        }
        Value::Null
    }

    /// Starts a gateway with `[web]` and `[console]`, and an account.
    fn start<'a>(&mut self, name: &str, text: impl Fn(&str) -> &'a str) -> Value {
        let is_https = text("scheme") == "https";
        let (listen, domain) = if is_https { ("tls_listen", "test") } else { ("listen", "localhost") };
        let tls = format!(
            "[tls]\ncertificate = \"{0}/cert.pem\"\nprivate_key = \"{0}/key.pem\"\n",
            self.identity.path().display()
        );
        let (web, console) = (self.free_address(), self.free_address());
        let directory = configured(&format!(
            "[auth]\nbcrypt_cost = 4\n{}\n{}\
             [web]\n{listen} = [\"{web}\"]\nupstreams = [\"{}\"]\n{}\n\
             [console]\n{listen} = [\"{console}\"]\nhost = \"console.acme.{domain}\"\n{}\n{}",
            match text("auth") {
                "" => "throttle = false",
                auth => auth,
            },
            if is_https { &tls } else { "" },
            text("upstream"),
            text("web"),
            text("console"),
            text("more"),
        ));
        create_database(directory.path());
        let clock = FakeClock::new();
        let mut command = Command::new(binary());
        if text("clock") == "set by the script" {
            command.envs(clock.environment());
        }
        let gateway = Gateway::start_by(directory, command);
        wait_until_it_listens(&gateway);
        gateway.account("email,api,web");
        self.sites.insert(name.to_owned(), Site { gateway, clock });
        json!({"web_port": web.port(), "console_port": console.port()})
    }

    /// An address that only this stage uses, so that a gateway may be started there again.
    fn free_address(&self) -> SocketAddr {
        TcpListener::bind((self.address, 0)).unwrap().local_addr().unwrap()
    }
}

fn wait_until_it_listens(gateway: &Gateway) {
    for entry in ["\"web.", "\"console."] {
        gateway.log().wait_for(&["\"message\":\"listening\"", entry]);
    }
}
