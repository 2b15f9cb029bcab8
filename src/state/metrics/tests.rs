use super::*;
use crate::domain::Denial;

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
        r#"gatepost_http_requests_total{entry="web",status="100"} 1"#,
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
