//! Warnings about settings that are allowed but risky or without effect.

use std::net::SocketAddr;

use http::Method;
use ipnet::IpNet;

use super::pattern::covers;
use super::{
    AllowedOrigin, Config, CredentialPlace, CredentialPlaces, GroupSettings, HttpEntry, Need, PostgresUrl,
    RouteSettings, Scheme, SmtpEntry, SmtpScheme, StoreSettings, StoreUrl,
};
use crate::domain::{Entry, Permission};

impl Config {
    /// Returns warnings about settings that are allowed but risky or without effect, each with its key.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(ops) = self.ops.filter(|ops| is_exposed(ops.listen)) {
            warnings.push(format!(
                "ops.listen: {} is reachable from other machines, and metrics and health checks require no credential",
                ops.listen
            ));
        }
        if !self.auth.throttle {
            warnings.push("auth.throttle: off, so passwords can be guessed without delay".into());
        }
        if self.auth.bcrypt_cost < 10 {
            let cost = self.auth.bcrypt_cost;
            warnings.push(format!(
                "auth.bcrypt_cost: {cost} is low, stolen hashes are fast to guess; use 10 or more"
            ));
        }
        if let Some(wide) = self.server.trusted_proxies.iter().find(|network| is_wide(network)) {
            let who = if wide.prefix_len() == 0 { "every client" } else { "a large part of all clients" };
            warnings.push(format!("server.trusted_proxies: {wide} lets {who} forge its address"));
        }
        warn_store(&self.store, &mut warnings);
        for entry in [&self.api, &self.web].into_iter().flatten() {
            warn_entry(entry, &mut warnings);
        }
        if let Some(console) = &self.console {
            warn_cleartext(&console.http, &mut warnings);
        }
        if let Some(smtp) = &self.smtp {
            warn_smtp(smtp, self.server.trusted_proxies.is_empty(), &mut warnings);
        }
        warnings
    }
}

/// Returns true for a network that no single operator has. A few of them cover all addresses.
fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        // Unique local addresses (RFC 4193) are nobody else's.
        IpNet::V6(network) => {
            network.prefix_len() < 16 && !matches!(network.network().octets()[0], 0xfc | 0xfd)
        }
    }
}

fn warn_store(store: &StoreSettings, warnings: &mut Vec<String>) {
    let StoreUrl::Postgres(url) = &store.url else {
        let keys =
            [("direct_url", store.direct_url.is_some()), ("password_file", store.password_file.is_some())];
        for (key, _) in keys.into_iter().filter(|(_, is_set)| *is_set) {
            warnings.push(format!("store.{key}: no effect, since store.url is not a PostgreSQL database"));
        }
        return;
    };
    for (key, url) in [("url", Some(url)), ("direct_url", store.direct_url.as_ref())] {
        if let Some(host) = url.and_then(PostgresUrl::unverified_host) {
            warnings.push(format!(
                "store.{key}: the certificate of {host} is not verified, so others on the way can pose as the database; \
                 set sslmode=verify-full"
            ));
        }
    }
}

fn warn_smtp(smtp: &SmtpEntry, no_trusted_proxies: bool, warnings: &mut Vec<String>) {
    for listener in smtp.listeners.iter().filter(|listener| listener.allows_cleartext_login()) {
        let (key, address, networks) = (listener.key, listener.address, &listener.rules.networks);
        if networks.is_empty() {
            warnings
                .push(format!("{key}: require_tls is off on {address}, so passwords may arrive unencrypted"));
        } else if let Some(wide) = networks.iter().find(|network| is_wide(network)) {
            let from = if wide.prefix_len() == 0 { "every network" } else { "a large part of all networks" };
            warnings.push(format!("{key}: {address} accepts unencrypted passwords from {from} ({wide})"));
        }
    }
    if no_trusted_proxies && smtp.listeners.iter().any(|listener| listener.rules.proxy_protocol) {
        warnings.push("smtp.proxy_protocol: no effect, since server.trusted_proxies is empty".into());
    }
    let relay = &smtp.relay;
    let clear = relay.upstreams.iter().find(|upstream| upstream.scheme == SmtpScheme::Clear);
    if let (Some(upstream), true) = (clear, relay.login.is_some()) {
        warnings.push(format!("smtp.upstream_user: the password is sent to {upstream} unencrypted"));
    }
    let all_clear = relay.upstreams.iter().all(|upstream| upstream.scheme == SmtpScheme::Clear);
    if all_clear && (relay.ca.is_some() || relay.server_name.is_some()) {
        warnings.push(
            "smtp: upstream_ca and upstream_server_name have no effect without an smtps:// or smtp+starttls:// upstream"
                .into(),
        );
    }
}

fn warn_entry(entry: &HttpEntry, warnings: &mut Vec<String>) {
    let name = entry.entry.as_str();
    let gate = entry.gate.as_ref();
    warn_cleartext(entry, warnings);
    for origin in gate.iter().flat_map(|gate| &gate.allowed_origins).filter(|origin| origin.is_exposed()) {
        warnings.push(format!(
            "web.allowed_origins: pages of {origin} arrive unencrypted, so others on the way can change them and use sessions"
        ));
    }
    for origin in entry.cors_origins.iter().filter(|origin| origin.is_exposed()) {
        warnings.push(format!(
            "{name}.cors_origins: pages of {origin} arrive unencrypted, so others on the way can change them and use stored logins"
        ));
    }
    for route in entry.routes.iter().filter(|route| route.need == Need::Public && route.path.as_str() == "/*")
    {
        let methods = route.methods.as_deref().map(|methods| {
            let names: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
            format!(" to {}", names.join(", "))
        });
        let methods = methods.unwrap_or_default();
        warnings.push(format!("{name}.route: every path is public{methods}, and requires no credential"));
    }
    if entry.entry == Entry::Api {
        warn_of_mail(entry, warnings);
    }
    warn_of_unread_credentials(entry, warnings);
    for group in &entry.groups {
        let verified = group.upstreams.iter().any(|upstream| upstream.scheme == Scheme::Https);
        let key = if group.name == GroupSettings::DEFAULT_NAME {
            name.to_owned()
        } else {
            format!("{name}.group '{}'", group.name)
        };
        if !verified && (group.upstream_ca.is_some() || group.upstream_server_name.is_some()) {
            warnings.push(format!(
                "{key}: upstream_ca and upstream_server_name have no effect without an https:// upstream"
            ));
        }
    }
}

/// Warns of listeners without TLS that other machines reach. With a public origin, a balancer in front ends TLS.
fn warn_cleartext(entry: &HttpEntry, warnings: &mut Vec<String>) {
    let name = entry.entry.as_str();
    let public_origin = entry.pages.as_ref().and_then(|pages| pages.public_origin.as_ref());
    if public_origin.is_some_and(AllowedOrigin::is_https) {
        return;
    }
    for address in entry.listen.iter().filter(|address| is_exposed(**address)) {
        warnings.push(format!(
            "{name}.listen: {address} is reachable from other machines, and passwords arrive there unencrypted"
        ));
    }
}

/// Warns of places where a credential isn't read, once for each key that excludes some.
fn warn_of_unread_credentials(entry: &HttpEntry, warnings: &mut Vec<String>) {
    let name = entry.entry.as_str();
    let mut warn = |key: String, places: CredentialPlaces, inherited: CredentialPlaces| {
        let is_unread = |place: &CredentialPlace| inherited.contains(*place) && !places.contains(*place);
        let unread: Vec<_> = CredentialPlace::ALL
            .into_iter()
            .filter(is_unread)
            .map(|place| format!("\"{}\"", place.as_str()))
            .collect();
        if !unread.is_empty() {
            warnings.push(format!(
                "{key}: without {}, a credential there is neither checked nor masked, which is unsafe if a backend reads it",
                unread.join(" and ")
            ));
        }
    };
    let mut own = CredentialPlaces::of(entry.entry);
    for group in &entry.groups {
        let key = match group.name.as_str() {
            GroupSettings::DEFAULT_NAME => format!("{name}.credentials"),
            other => format!("{name}.group '{other}': credentials"),
        };
        warn(key, group.credentials, own);
        own = entry.groups[0].credentials;
    }
    for route in &entry.routes {
        let key = format!("{name}.route '{}': credentials", route.path);
        warn(key, route.credentials, entry.groups[route.group].credentials);
    }
}

/// Warns of routes that take precedence over the built-in ones and let mail be sent without `email`.
fn warn_of_mail(entry: &HttpEntry, warnings: &mut Vec<String>) {
    const PATHS: [&str; 3] = ["/api/mail.send.json", "/api/mail.send.xml", "/v3/mail/send"];
    let mut warned: Vec<&RouteSettings> = Vec::new();
    for path in PATHS {
        let takes = |route: &&RouteSettings| {
            let posts = route.methods.as_ref().is_none_or(|methods| methods.contains(&Method::POST));
            posts && covers(&route.path, path)
        };
        let Some(route) = entry.routes.iter().find(takes) else { continue };
        let asked = route.need == Need::Permission(Permission::Email);
        // A public route for every path has a warning of its own.
        let said = route.need == Need::Public && route.path.as_str() == "/*";
        if !asked && !said && !warned.contains(&route) {
            warned.push(route);
            let (pattern, need) = (&route.path, route.need.as_str());
            warnings.push(format!(
                "api.route: '{pattern}' also matches {path}, which sends mail: it requires '{need}' there instead of 'email'"
            ));
        }
    }
}

fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}
