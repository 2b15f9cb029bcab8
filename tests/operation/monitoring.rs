//! The alerts, proved by `promtool`, and every expression of alerts and dashboard, answered by a Prometheus that scraped a
//! gateway. Both are Debian's (`prometheus`); the test starts its own, and nothing else runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::common::backend::Backend;
use crate::common::http::{get, request};
use crate::common::mail::{CONTENT, Client, NAME, section};
use crate::common::sink::Sink;
use crate::common::tls::Authority;
use crate::common::{Gateway, HOLDER, PATIENCE, api, configured, nobody};

const JOE: &str = "joe:passw0rd-of-joe";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap()
}

/// The names of all alerts.
fn alerts() -> BTreeSet<String> {
    let rules = text("config/prometheus-alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Case E19: for each alert series that raise it, and others that do not.
#[test]
fn promtool_proves_every_alert() {
    let tests = text("tests/operation/alerts.yml");
    let (mut raised, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for test in tests.split("\n  - name: ").skip(1) {
        let name = test.split("- alertname: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let title = test.lines().next().unwrap();
        assert_eq!(test.matches("alertname: ").count(), 1, "{title}");
        match test.contains("exp_alerts: []") {
            true => silent.insert(name),
            false if test.contains("- exp_labels:") => raised.insert(name),
            false => panic!("{title} expects nothing"),
        };
    }
    assert!(alerts().len() > 20, "is the test blind?");
    assert_eq!(raised, alerts(), "alerts that a test raises");
    assert_eq!(silent, alerts(), "alerts that a test does not raise");
    let mut promtool = Command::new("promtool");
    let run = promtool.args(["test", "rules"]).arg(file("tests/operation/alerts.yml")).output();
    let run = run.expect("promtool has to be installed, as `make test` does");
    let told = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    assert!(run.status.success() && told.contains("SUCCESS"), "{told}");
}

/// A Prometheus of this test's own.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes a gateway's metrics twice a second, and evaluates the alerts as often.
    fn scraping(ops: SocketAddr) -> Prometheus {
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{ scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms }}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n  - job_name: gatepost\n    static_configs: [ {{ targets: ['{ops}'] }} ]\n",
            file("config/prometheus-alerts.yml").display()
        );
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let address = nobody();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
        let child = command.stdout(Stdio::null()).stdin(Stdio::null()).spawn();
        let child = child.expect("prometheus has to be installed, as `make test` does");
        let prometheus = Prometheus { child, address, _directory: directory };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() || get("/-/ready").send(address).status != 200 {
            assert!(began.elapsed() < PATIENCE, "Prometheus does not start");
            std::thread::yield_now();
        }
        prometheus
    }

    /// The result of an expression: labels and values.
    fn query(&self, expression: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let body = format!("query={}", utf8_percent_encode(expression, NON_ALPHANUMERIC));
        let form = "application/x-www-form-urlencoded";
        let answer =
            request("POST", "/api/v1/query").header("Content-Type", form).body(body).send(self.address);
        let json = answer.json();
        assert_eq!(json["status"], "success", "{expression}: {json}");
        let series = json["data"]["result"].as_array().unwrap();
        let read = |series: &Value| {
            let labels = series["metric"].as_object().unwrap().iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
            (labels.collect(), series["value"][1].as_str().unwrap().parse().unwrap())
        };
        series.iter().map(read).collect()
    }

    /// Waits until an expression has a result.
    fn wait_for(&self, expression: &str) {
        let began = Instant::now();
        while self.query(expression).is_empty() {
            assert!(began.elapsed() < PATIENCE, "no result: {expression}");
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway in which everything is configured, and which has done some work.
fn busy(backend: &Backend, sink: &Sink) -> (Gateway, Prometheus) {
    let web = "[web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://BACKEND\"]\n"
        .replace("BACKEND", &backend.address.to_string());
    let rest = format!(
        "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n[ops]\nlisten = \"127.0.0.1:0\"\n{}{web}{}",
        api(backend.address),
        section(&[sink.url()], "")
    );
    let directory = configured(&rest);
    Authority::new().issue(NAME).write(directory.path());
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential(JOE, "email,api,web");
    let prometheus = Prometheus::scraping(gateway.address("ops.listen"));
    // Before the work, so that there is a rate.
    prometheus.wait_for("count_over_time(up{job=\"gatepost\"}[1m]) >= 2");
    for _ in 0..3 {
        assert_eq!(get("/a").basic(JOE).send(gateway.api()).status, 200);
        assert_eq!(get("/a").basic(JOE).send(gateway.address("web.listen")).status, 200);
    }
    assert_eq!(get("/a").basic("joe:wrong-passw0rd").send(gateway.api()).status, 401);
    assert_eq!(gateway.manage("add", "username=newcomer&password=s3cret-enough").0, 200);
    assert_eq!(gateway.manage("remove", "username=newcomer").0, 200);
    let mut client = Client::login(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.submit("a@test", "b@test", CONTENT).code, 250);
    prometheus.wait_for("gatepost_smtp_messages_total{outcome=\"accepted\"} > 0");
    prometheus.wait_for("sum(gatepost_http_requests_total{entry=\"api\"}) > 5");
    prometheus.wait_for("gatepost_revocation_seconds_count > 0");
    (gateway, prometheus)
}

/// The beginning of the titles of panels about metrics that only a node on PostgreSQL has.
const OF_A_NODE: &str = "PostgreSQL: ";

/// The expressions of the dashboard that a gateway in good order answers with nothing, by the title of their panel.
const EMPTY: [(&str, &str); 1] = [("Connections refused", "only what was refused is shown")];

#[test]
fn a_prometheus_answers_every_expression_of_alerts_and_dashboard() {
    let (backend, sink) = (Backend::hello(), Sink::good());
    let (_gateway, prometheus) = busy(&backend, &sink);
    let dashboard: Value = serde_json::from_str(&text("config/grafana.json")).unwrap();
    let mut seen = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$instance", ".*").replace("$__rate_interval", "1m");
            assert!(!expression.contains('$'), "{expression}");
            let result = prometheus.query(&expression);
            if title.starts_with(OF_A_NODE) {
                assert!(result.is_empty(), "{title} shows {result:?}, without PostgreSQL");
                continue;
            }
            let is_exempt = EMPTY.iter().any(|(of, _)| *of == title) && expression.ends_with("> 0");
            assert!(is_exempt || !result.is_empty(), "{title} is empty: {expression}");
            let numbers = result.iter().filter(|(_, value)| value.is_finite()).count();
            assert!(is_exempt || numbers > 0, "{title} shows no number: {result:?}");
            // What the legend names has a value.
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                let lacks = result.iter().find(|(labels, _)| !labels.contains_key(label));
                assert_eq!(lacks, None, "{title}: no label {label} in {expression}");
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} were seen: is the test blind?");

    // A gateway in good order raises nothing, and every rule is evaluated without an error.
    prometheus.wait_for("ALERTS or (count_over_time(up{job=\"gatepost\"}[1m]) >= 6)");
    let rules = get("/api/v1/rules").send(prometheus.address).json();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    let of_a_node = text("config/prometheus-alerts.yml");
    let of_a_node = of_a_node.split_once("# The rest is about nodes on PostgreSQL.").unwrap().1;
    assert_eq!(rules.len(), alerts().len());
    for rule in &rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().unwrap());
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_eq!(rule["alerts"].as_array().map(Vec::len), Some(0), "{rule}");
        let result = prometheus.query(query);
        assert!(result.is_empty(), "{name} would be raised: {query} is {result:?}");
        // The series that it is about are there: each selector of it finds some. Those of a node exist with PostgreSQL only.
        let of_a_node = of_a_node.contains(&format!("- alert: {}\n", name.as_str().unwrap()));
        for selector in selectors(query) {
            assert_eq!(prometheus.query(&selector).is_empty(), of_a_node, "{name}: series for {selector}");
        }
    }
}

/// The instant selectors of an expression.
fn selectors(expression: &str) -> Vec<String> {
    let starts = ["gatepost_", "process_", "up{"];
    let mut found = Vec::new();
    for word in expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '{')) {
        let name = word.split('{').next().unwrap();
        if !starts.iter().any(|start| word.starts_with(start)) {
            continue;
        }
        let at = word.as_ptr() as usize - expression.as_ptr() as usize;
        let rest = &expression[at + name.len()..];
        let labels = rest.strip_prefix('{').map(|rest| &rest[..rest.find('}').unwrap()]);
        found.push(labels.map_or_else(|| name.to_owned(), |labels| format!("{name}{{{labels}}}")));
    }
    found
}

/// Case E19: the first burst of what cannot be decided, on a gateway that had none before.
#[test]
fn a_first_failure_is_seen_by_the_rules() {
    // No connection to it stays.
    let hello = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (backend, sink) = (Backend::answering(|_| hello.to_vec()), Sink::good());
    let (gateway, prometheus) = busy(&backend, &sink);
    backend.close();
    prometheus.wait_for("gatepost_backend_up{entry=\"api\"} == 0");
    prometheus.wait_for("ALERTS{alertname=\"GatepostGroupDown\",entry=\"api\"}");
    prometheus.wait_for("ALERTS{alertname=\"GatepostBackendDown\",entry=\"web\"}");
    for _ in 0..4 {
        let answer = get("/a").basic(HOLDER).send(gateway.api());
        assert_eq!(answer.status, 502);
    }
    prometheus.wait_for("ALERTS{alertname=\"GatepostBackendFailing\",entry=\"api\"}");
    std::fs::write(gateway.config(), "[api]\nlisten = 7\n").unwrap();
    gateway.signal("HUP");
    prometheus.wait_for("ALERTS{alertname=\"GatepostReloadFailed\"}");
    assert!(prometheus.query("ALERTS{alertname=\"GatepostCertificateNotReloaded\"}").is_empty());
}
