use super::labels::Label as _;
use super::*;
use crate::domain::Denial;
use crate::state::Epochs;

#[test]
fn what_was_counted_is_in_the_text() {
    let metrics = Metrics::new();
    metrics.decision(
        Entry::Api,
        Some(Permission::Email),
        DecisionOutcome::Denied(Denial::Lacks(Permission::Email)),
    );
    metrics.decision(Entry::Web, None, DecisionOutcome::Allowed);
    metrics.lookup(Lookup::Stale);
    metrics.http_request(Entry::Web, 200, Duration::from_millis(3));
    metrics.http_request(Entry::Web, 7, Duration::from_millis(3));
    metrics.throttled(Entry::Smtp, ThrottledBy::Username);
    metrics.mutation("remove", "done");
    metrics.password_check(PasswordCheck::Joined);
    metrics.read_at_scrape("gatepost_cache_entries", "Principals in the cache.", || 17.0);
    let text = metrics.encode();
    for line in [
        r#"gatepost_decisions_total{entry="api",permission="email",outcome="forbidden"} 1"#,
        r#"gatepost_decisions_total{entry="web",permission="manage",outcome="allowed"} 1"#,
        r#"gatepost_cache_lookups_total{result="stale"} 1"#,
        r#"gatepost_cache_entries 17"#,
        r#"gatepost_http_requests_total{entry="web",status="200"} 1"#,
        r#"gatepost_http_requests_total{entry="web",status="1xx"} 1"#,
        r#"gatepost_http_request_seconds_bucket{entry="web",le="0.005"} 2"#,
        r#"gatepost_http_request_seconds_count{entry="web"} 2"#,
        r#"gatepost_throttled_total{by="username",entry="smtp"} 1"#,
        r#"gatepost_mutations_total{action="remove",outcome="done"} 1"#,
        r#"gatepost_password_checks_total{outcome="joined"} 1"#,
        concat!(r#"gatepost_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_was_never_counted_is_zero() {
    let metrics = Metrics::new();
    metrics.expect_mutation("remove", "failed");
    let text = metrics.encode();
    for entry in Entry::ALL.map(Entry::as_str) {
        for line in [
            format!(r#"gatepost_sessions_cut_total{{entry="{entry}"}} 0"#),
            format!(r#"gatepost_throttled_total{{by="source",entry="{entry}"}} 0"#),
            format!(r#"gatepost_throttled_total{{by="username",entry="{entry}"}} 0"#),
            r#"gatepost_mutations_total{action="remove",outcome="failed"} 0"#.to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}

#[test]
fn every_label_has_its_place() {
    let metrics = Metrics::new();
    let decisions: Vec<_> = Entry::ALL.into_iter().flat_map(|e| Permission::ALL.map(|p| (e, p))).collect();
    for (count, (entry, permission)) in decisions.iter().enumerate() {
        for _ in 0..=count {
            metrics.decision(*entry, Some(*permission), DecisionOutcome::Unavailable);
        }
    }
    let lookups =
        [(Lookup::Hit, "hit"), (Lookup::Stale, "stale"), (Lookup::Other, "other"), (Lookup::Miss, "miss")];
    for (count, (lookup, _)) in lookups.iter().enumerate() {
        for _ in 0..=count {
            metrics.lookup(*lookup);
        }
    }
    let text = metrics.encode();
    for (count, (entry, permission)) in decisions.iter().enumerate() {
        let (entry, count) = (entry.as_str(), count + 1);
        let line = format!(r#"{{entry="{entry}",permission="{permission}",outcome="unavailable"}} {count}"#);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    for (count, (_, word)) in lookups.iter().enumerate() {
        let line = format!(r#"gatepost_cache_lookups_total{{result="{word}"}} {}"#, count + 1);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn other_statuses_count_with_their_class() {
    let metrics = Metrics::new();
    let known = [101, 200, 226, 307, 418, 451, 499, 511];
    for status in known.into_iter().chain([209, 299, 399, 420, 498, 520, 999]) {
        metrics.http_request(Entry::Api, status, Duration::ZERO);
    }
    let text = metrics.encode();
    for (status, count) in known.map(|status| (status.to_string(), 1)).into_iter().chain([
        ("2xx".to_owned(), 2),
        ("3xx".to_owned(), 1),
        ("4xx".to_owned(), 2),
        ("5xx".to_owned(), 2),
    ]) {
        let line = format!("gatepost_http_requests_total{{entry=\"api\",status=\"{status}\"}} {count}");
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("1xx"), "{text}");
    // All but the tunnel, which says nothing about the time of an answer.
    assert!(text.contains("gatepost_http_request_seconds_count{entry=\"api\"} 14\n"), "{text}");
}

/// Case E9: `http_request_seconds{entry="smtp"}` and the like, which can never count.
#[test]
fn a_part_that_is_not_configured_has_no_series() {
    let shown = |text: &str| {
        let config = Config::parse(text, "test.toml").unwrap();
        Metrics::of(&config).encode()
    };
    let api = shown("[api]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n");
    for absent in ["smtp", "web", "certificate_", "part=\"certificate\""] {
        assert!(!api.contains(absent), "{absent} is in\n{api}");
    }
    for permission in ["api", "email", "manage"] {
        let line = format!(
            "gatepost_decisions_total{{entry=\"api\",permission=\"{permission}\",outcome=\"unavailable\"}} 0"
        );
        assert!(api.lines().any(|found| found == line), "{line} is not in\n{api}");
    }
    let mail = shown(
        "[tls]\ncertificate = 'c'\nprivate_key = 'k'\n[auth]\nthrottle = false\n\
         [smtp]\nlisten = ['127.0.0.1:0']\nupstreams = ['smtp://127.0.0.1:1']\n",
    );
    for absent in ["http", "\"api\"", "\"web\"", "throttled", "gatepost_revocation_seconds"] {
        assert!(!mail.contains(absent), "{absent} is in\n{mail}");
    }
    assert!(
        mail.contains("gatepost_smtp_sessions 0")
            && mail.contains("permission=\"email\",outcome=\"wrong\"} 0")
    );
}

/// Case E19: a first burst has a rate only if its series was there before.
#[test]
fn a_reload_adds_the_decisions_of_its_routes() {
    let parse = |route: &str| {
        let text = format!("[web]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n{route}");
        Config::parse(&text, "test.toml").unwrap()
    };
    let metrics = Metrics::of(&parse(""));
    let line = "gatepost_decisions_total{entry=\"web\",permission=\"api\",outcome=\"unavailable\"} 0";
    assert!(!metrics.encode().contains(line));
    metrics.reconfigure(&parse("[[web.route]]\npath = '/rpc'\npermission = 'api'\n"));
    assert!(metrics.encode().contains(line));
}

#[test]
fn labels_of_other_layers_have_their_own_word() {
    for (index, reason) in WaitReason::ALL.into_iter().enumerate() {
        assert_eq!((reason.index(), reason.word()), (index, reason.as_str()));
    }
}

#[test]
fn what_a_single_process_cannot_have_is_not_shown() {
    let config = "[api]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n";
    let config = Config::parse(config, "test.toml").unwrap();
    let of_a_node = Metrics::new();
    of_a_node.show_trust(&Arc::new(Epochs::without_trust()));
    let alone = Metrics::of(&config);
    alone.show_trust(&Arc::new(Epochs::new()));
    for name in [
        "trust_seconds",
        "lease_seconds",
        "beat_age",
        "change_lag",
        "revocation_waits_total",
        "database_",
        "notify",
    ] {
        let name = format!("\ngatepost_{name}");
        assert!(of_a_node.encode().contains(&name), "{name}");
        assert!(!alone.encode().contains(&name), "{name}");
    }
    assert!(alone.encode().contains("\ngatepost_revocation_seconds"));
}
