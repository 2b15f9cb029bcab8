//! The metrics of a running gateway: every series from the start, and what an operator has to see before the users do.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::backend::Backend;
use crate::common::database::{Damage, file_of};
use crate::common::http::{Connection, get, request};
use crate::common::mail::{CONTENT, Client, NAME, metric, section, wait_for_metric};
use crate::common::sink::Sink;
use crate::common::tls::Authority;
use crate::common::{Gateway, api, configure_store, configured, nobody, write_config};

const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";
const TLS: &str = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n";
const FULL: &str = "full:passw0rd-of-full";
const POOR: &str = "poor:passw0rd-of-poor";

/// The names and labels of all series.
fn series(gateway: &Gateway) -> BTreeSet<String> {
    let text = get("/metrics").send(gateway.address("ops.listen")).text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// A backend that answers `/status/NUMBER` with that status.
fn obliging() -> Backend {
    Backend::answering(|received| {
        let status = received.target.rsplit('/').next().unwrap().split('?').next().unwrap();
        let status = if status.parse::<u16>().is_ok() { status } else { "200" };
        format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n").into_bytes()
    })
}

/// Cases E9 and E19: a series that appears with its first count has no rate, so an alert misses the first burst.
#[test]
fn no_series_appears_after_the_start() {
    let (backend, sink) = (obliging(), Sink::good());
    let web = "[web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://GONE\"]\n"
        .replace("GONE", &nobody().to_string());
    let mail = section(&[sink.url()], "max_errors = 3");
    let rest = format!("{TLS}{OPS}{web}{mail}{}", api(backend.address));
    let directory = configured(&rest);
    configure_store(directory.path(), "read_connections = 1\nbusy_timeout = \"100ms\"");
    let authority = Authority::new();
    authority.issue(NAME).write(directory.path());
    let gateway = Gateway::start_in(directory);
    let before = series(&gateway);
    assert!(before.len() > 300, "{before:?}");

    gateway.account("email,api,web").credential(FULL, "email,api,web").credential(POOR, "web");
    drive_http(&gateway);
    drive_mail(&gateway);
    assert_eq!(gateway.manage("add", "username=newcomer&password=s3cret-enough").0, 200);
    assert_eq!(gateway.manage("add", "username=newcomer&password=s3cret-enough").0, 409);
    assert_eq!(gateway.manage("get", "username=nobody-at-all").0, 404);
    assert_eq!(gateway.manage("remove", "username=newcomer").0, 200);
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    std::fs::write(gateway.directory.path().join("cert.pem"), "nothing").unwrap();
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration not reloaded"]);
    let damage = Damage::of(&gateway);
    assert_eq!(get("/status/200").basic("somebody:passw0rd-else").send(gateway.api()).status, 503);
    damage.repair();
    // At last, since its source is throttled then.
    let guess = |number: usize| {
        let login = format!("somebody-{number}:passw0rd-{number}");
        get("/a").basic(&login).send(gateway.api()).status
    };
    assert!((0..60).map(guess).any(|status| status == 429), "it may guess on");
    wait_for_metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"503\"}", 1);

    for (name, least) in [
        ("gatepost_decisions_total{entry=\"api\",permission=\"api\",outcome=\"unavailable\"}", 1),
        ("gatepost_decisions_total{entry=\"api\",permission=\"api\",outcome=\"throttled\"}", 1),
        ("gatepost_decisions_total{entry=\"smtp\",permission=\"email\",outcome=\"allowed\"}", 2),
        ("gatepost_http_requests_total{entry=\"web\",status=\"502\"}", 1),
        ("gatepost_http_requests_total{entry=\"api\",status=\"5xx\"}", 1),
        ("gatepost_mutations_total{action=\"credential.get\",outcome=\"refused\"}", 1),
        ("gatepost_smtp_recipients_total{outcome=\"accepted\"}", 1),
        ("gatepost_reloads_total{part=\"configuration\",outcome=\"done\"}", 1),
        ("gatepost_reloads_total{part=\"configuration\",outcome=\"failed\"}", 1),
        ("gatepost_store_errors_total", 1),
    ] {
        let value = metric(&gateway, &sorted(&gateway, name));
        assert!(value >= least, "{name} is {value}");
    }
    let appeared: Vec<_> = series(&gateway).difference(&before).cloned().collect();
    assert!(appeared.is_empty(), "{appeared:?}");
}

/// The same series with its labels in the order in which they are shown.
fn sorted(gateway: &Gateway, wanted: &str) -> String {
    let parts = |name: &str| -> BTreeSet<String> { name.split(['{', ',', '}']).map(str::to_owned).collect() };
    let found = series(gateway).into_iter().find(|shown| parts(shown) == parts(wanted));
    found.unwrap_or_else(|| panic!("no {wanted}"))
}

fn drive_http(gateway: &Gateway) {
    let mut connection = Connection::open(gateway.api());
    for status in [200, 201, 204, 209, 302, 399, 404, 418, 499, 500, 520, 599] {
        let answer = connection.exchange(get(&format!("/status/{status}")).basic(FULL));
        assert_eq!(answer.status, status);
    }
    for (login, path) in [
        (POOR, "/status/200"),
        (POOR, "/v3/mail/send"),
        ("nobody:passw0rd-of-none", "/status/200"),
        ("full:wrong-passw0rd", "/status/200"),
    ] {
        assert!(connection.exchange(request("POST", path).basic(login)).status >= 401);
    }
    assert_eq!(connection.exchange(get("/a\u{1}")).status, 400);
    assert_eq!(get("/a").basic(FULL).send(gateway.address("web.listen")).status, 502);
}

fn drive_mail(gateway: &Gateway) {
    let mut client = Client::login(gateway.address("smtp.listen"), FULL);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    let mut erring = Client::hello(gateway.address("smtp.listen"));
    while erring.try_say("NONSENSE").is_some_and(|answer| answer.code != 421) {}
}

/// Case C15: the state of each backend with its entry and group, and the reason in the log; after a reload those of the new file.
#[test]
fn the_state_of_each_backend_is_shown() {
    let (good, second, sink) = (Backend::hello(), Backend::hello(), Sink::good());
    let gone = nobody();
    let sections = |more: &str| {
        format!(
            "{OPS}[api]\nlisten = [\"127.0.0.1:0\"]\nhealth_interval = \"100ms\"\n\
             upstreams = [\"http://{}\"{more}]\n[[api.group]]\nname = \"files\"\nupstreams = [\"http://{gone}\"]\n{}",
            good.address,
            section(&[sink.url(), format!("smtp://{gone}")], "health_interval = \"100ms\""),
        )
    };
    let gateway = Gateway::start(&sections(""));
    let name = |entry: &str, group: &str, backend: String| {
        format!("gatepost_backend_up{{entry=\"{entry}\",group=\"{group}\",backend=\"{backend}\"}}")
    };
    let first = name("api", "default", format!("http://{}", good.address));
    wait_for_metric(&gateway, &name("api", "files", format!("http://{gone}")), 0);
    wait_for_metric(&gateway, &name("smtp", "default", format!("smtp://{gone}")), 0);
    wait_for_metric(&gateway, &name("smtp", "default", sink.url()), 1);
    wait_for_metric(&gateway, &first, 1);
    let gone = gone.to_string();
    gateway.log().wait_for(&[
        "the backend is down",
        "\"entry\":\"api\"",
        "\"group\":\"files\"",
        &gone,
        "refused",
    ]);
    gateway.log().wait_for(&["mail backend is down", "\"entry\":\"smtp\"", &gone, "refused"]);
    good.close();
    wait_for_metric(&gateway, &first, 0);

    // A reload replaces the backends of the HTTP entries.
    let more = format!(", \"http://{}\"", second.address);
    write_config(gateway.directory.path(), &sections(&more).replace("name = \"files\"", "name = \"other\""));
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    wait_for_metric(&gateway, &name("api", "default", format!("http://{}", second.address)), 1);
    let shown = series(&gateway);
    assert!(shown.contains(&name("api", "other", format!("http://{gone}"))), "{shown:?}");
    assert!(shown.iter().all(|series| !series.contains("group=\"files\"")), "{shown:?}");
}

#[test]
fn the_result_of_a_reload_is_shown() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!("{OPS}{}", api(backend.address)));
    let state = || {
        let names = ["gatepost_config_last_reload_successful", "gatepost_config_restart_needed"];
        names.map(|name| metric(&gateway, name))
    };
    let loaded = metric(&gateway, "gatepost_config_last_reload_success_timestamp_seconds");
    assert!(loaded > 1_700_000_000, "{loaded}");
    assert_eq!(state(), [1, 0]);
    write_config(gateway.directory.path(), "[api]\nlisten = 7\n");
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration not reloaded"]);
    assert_eq!(state(), [0, 0]);
    let last = || metric(&gateway, "gatepost_config_last_reload_success_timestamp_seconds");
    assert_eq!(last(), loaded);
    // The next second.
    while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() <= loaded {
        std::thread::sleep(Duration::from_millis(10));
    }
    let changed = format!("[server]\nthreads = 3\n{OPS}{}", api(backend.address));
    write_config(gateway.directory.path(), &changed);
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    assert_eq!(state(), [1, 1]);
    assert!(last() > loaded);
}

/// A reload that failed only because of the certificate is completed with its repair, which needs no signal.
#[test]
fn a_reload_is_completed_once_the_certificate_is_repaired() {
    let backend = Backend::hello();
    let tls = format!("{TLS}{OPS}{}", api(backend.address).replace("listen =", "tls_listen ="));
    let directory = configured(&tls);
    let authority = Authority::new();
    authority.issue(NAME).write(directory.path());
    let gateway = Gateway::start_in(directory);
    let certificate = gateway.directory.path().join("cert.pem");
    let good = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "nothing").unwrap();
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration not reloaded"]);
    wait_for_metric(&gateway, "gatepost_config_last_reload_successful", 0);
    std::fs::write(&certificate, good).unwrap();
    wait_for_metric(&gateway, "gatepost_config_last_reload_successful", 1);
    assert_eq!(metric(&gateway, "gatepost_certificate_last_reload_successful"), 1);
}

#[test]
fn open_and_refused_connections_are_shown_by_entry() {
    let (backend, sink) = (Backend::hello(), Sink::good());
    let server = "[server]\nthreads = 2\nmax_connections = 3\nmax_connections_per_source = 2\n";
    let rest = format!("{server}{OPS}{}{}", api(backend.address), section(&[sink.url()], ""));
    let gateway = Gateway::start(&rest);
    let of = |entry: &str| format!("gatepost_connections{{entry=\"{entry}\"}}");
    let refused = |entry: &str, limit: &str| {
        format!("gatepost_connections_refused_total{{entry=\"{entry}\",limit=\"{limit}\"}}")
    };
    let mut open: Vec<_> = (0..2).map(|_| Connection::open(gateway.api())).collect();
    wait_for_metric(&gateway, &of("api"), 2);
    assert!(Connection::open(gateway.api()).is_closed());
    wait_for_metric(&gateway, &refused("api", "source"), 1);
    let _mail = Client::hello(gateway.address("smtp.listen"));
    wait_for_metric(&gateway, &of("smtp"), 1);
    assert!(Connection::open(gateway.api()).is_closed());
    assert_eq!(Client::connect(gateway.address("smtp.listen")).answer().code, 421);
    wait_for_metric(&gateway, &refused("api", "connections"), 1);
    wait_for_metric(&gateway, &refused("smtp", "connections"), 1);
    open.clear();
    wait_for_metric(&gateway, &of("api"), 0);
}

/// An outcome of its own, since what was revoked may still pass elsewhere.
#[test]
fn a_change_that_nobody_confirms_is_counted_as_that() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!("{OPS}{}", api(backend.address)));
    gateway.account("email,api,web").credential(FULL, "api");
    // A process that listens and never answers.
    let folder = std::path::PathBuf::from(format!("{}.nodes", file_of(&gateway).display()));
    let _silent = std::os::unix::net::UnixListener::bind(folder.join("silent.sock")).unwrap();
    assert_eq!(gateway.manage("remove", "username=full").0, 503);
    let name = "gatepost_mutations_total{action=\"credential.remove\",outcome=\"unconfirmed\"}";
    wait_for_metric(&gateway, name, 1);
}
