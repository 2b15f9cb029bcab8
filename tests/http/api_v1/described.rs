//! API v1 compared with its description by a running gateway: schemathesis makes requests of it, valid and invalid ones, and
//! compares each answer with openapi.json.

use std::path::Path;
use std::process::Command;

use super::{CREDENTIALS, added, console, start};
use crate::common::callers::NO_DELAYS;
use crate::common::http::get;
use crate::common::{HOLDER, installed};

fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_description_is_valid() {
    let description = format!("{}/src/edge/http/console/api/openapi.json", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(installed("openapi/bin/python"));
    let output = command.arg("-m").arg("openapi_spec_validator").arg(description).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn schemathesis_finds_nothing() {
    let (gateway, _backend) = start(NO_DELAYS);
    let ids: Vec<_> =
        (0..20).map(|number| added(&gateway, &format!("joe-{number}")).1["id"].to_string()).collect();
    let address = console(&gateway);
    let cursor = |limit: usize| {
        let page = get(&format!("{CREDENTIALS}?limit={limit}")).basic(HOLDER).send(address).json();
        page["next_cursor"].as_str().unwrap().to_owned()
    };
    let output = Command::new(installed("openapi/bin/st"))
        .current_dir(gateway.directory.path())
        .env("CURSORS", format!("{} {}", cursor(1), cursor(2)))
        .env("IDS", ids.join(" "))
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", Path::new(&script("schemathesis_hooks.py")).parent().unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["--config-file", &script("schemathesis.toml"), "run"])
        .arg(format!("http://{address}/api/v1/openapi.json"))
        .args([
            "--checks",
            "all",
            "--auth",
            HOLDER,
            "--seed",
            "16",
            "--max-examples",
            "25",
            "--request-timeout",
            "10",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // It did what it should: added, edited and removed credentials.
    for line in ["credential.add", "credential.edit", "credential.remove"] {
        gateway.log().wait_for(&[line, "\"done\""]);
    }
    assert_eq!(get(CREDENTIALS).basic(HOLDER).send(address).status, 200);
}

/// The curl lines of docs/api-v1.md, as they are, but with the address and the number of the test.
#[test]
fn documented_lines_work() {
    let (gateway, _backend) = start("");
    let (path, _) = added(&gateway, "joe-1");
    let number = path.rsplit('/').next().unwrap();
    let page = std::fs::read_to_string(format!("{}/docs/api-v1.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: String = blocks
        .map(|block| block.replace("https://console.example.com", &format!("http://{}", console(&gateway))))
        .map(|block| block.replace("/42\"", &format!("/{number}\"")))
        .collect();
    let script =
        format!("curl() {{ command curl -sS -o /dev/null -w '%{{http_code}} ' \"$@\"; }}\nset -e\n{lines}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200 201 200 200 204 ", "{script}");
}
