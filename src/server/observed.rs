//! The state of a running gateway that its metrics show, read at each scrape.

use std::sync::{Arc, Weak};

use super::workers::{Listening, MailListening};
use crate::domain::Entry;
use crate::edge::http::service::HttpService;
use crate::edge::net::descriptors::DescriptorLimits;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::tls_certificate::TlsCertificate;
use crate::edge::smtp::service::SmtpService;
use crate::state::Metrics;

/// The name of the only group of mail backends.
const MAIL_GROUP: &str = "default";

/// Shows which backends count as up. After a reload, these are the backends of the new configuration.
pub fn backends(metrics: &Metrics, sites: &[Arc<HttpService>], mail: Option<&Arc<SmtpService>>) {
    // They own the metrics.
    let sites: Vec<Weak<HttpService>> = sites.iter().map(Arc::downgrade).collect();
    let mail = mail.map(Arc::downgrade);
    let read = move || {
        let mut all = Vec::new();
        let mut add = |entry: Entry, group: String, backend: String, up: bool| {
            all.push((vec![entry.as_str().to_owned(), group, backend], f64::from(u8::from(up))));
        };
        for site in sites.iter().filter_map(Weak::upgrade) {
            for (group, backend, up) in site.backends() {
                add(site.entry, group, backend, up);
            }
        }
        if let Some(mail) = mail.as_ref().and_then(Weak::upgrade) {
            for (backend, up) in mail.backends.states() {
                add(Entry::Smtp, MAIL_GROUP.to_owned(), backend, up);
            }
        }
        all
    };
    let help = "1 if a backend counts as up, 0 if it is down.";
    metrics.read_series_at_scrape("gatepost_backend_up", help, &["entry", "group", "backend"], read);
}

/// Shows the open connections of clients.
pub fn connections(metrics: &Metrics, http: &[Listening], mail: &[MailListening]) {
    let http = http.iter().map(|listening| (listening.site.entry, &listening.limits));
    let mail = mail.iter().map(|listening| (Entry::Smtp, &listening.limits));
    let mut open: Vec<(Entry, Arc<InFlight>)> = Vec::new();
    for (entry, limits) in http.chain(mail) {
        if open.iter().all(|(known, _)| *known != entry) {
            open.push((entry, limits.open.clone()));
        }
    }
    let read = move || {
        let count =
            |(entry, open): &(Entry, Arc<InFlight>)| (vec![entry.as_str().to_owned()], open.count() as f64);
        open.iter().map(count).collect()
    };
    metrics.read_series_at_scrape("gatepost_connections", "Open connections of clients.", &["entry"], read);
}

/// Shows when the certificate expires.
pub fn certificate(metrics: &Metrics, certificate: Option<&Arc<TlsCertificate>>) {
    let Some(certificate) = certificate.cloned() else { return };
    let read = move || {
        let expiry = certificate.validity().map(|validity| validity.not_after as f64);
        expiry.map(|expiry| (Vec::new(), expiry)).into_iter().collect()
    };
    let help = "Expiry of the certificate of the listeners, in seconds since 1970.";
    metrics.read_series_at_scrape("gatepost_certificate_expiry_seconds", help, &[], read);
}

/// Shows how many descriptors may be open when a client connects.
pub fn descriptors(metrics: &Metrics, limits: DescriptorLimits) {
    let help = "Open descriptors from which on clients are refused.";
    metrics.read_at_scrape("gatepost_client_descriptor_limit", help, move || f64::from(limits.clients));
}
