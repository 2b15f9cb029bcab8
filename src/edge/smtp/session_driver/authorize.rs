//! Decisions in an SMTP session: on each login, and again at each MAIL.

use std::sync::Arc;

use super::SessionDriver;
use crate::domain::{self, Denial, Permission, Permissions, Unavailable};
use crate::edge::smtp::delivery::Delivery;
use crate::edge::smtp::submitter::Submitter;
use crate::service::access::Decision;
use crate::state::metrics::DecisionOutcome;
use crate::wire::Held;
use crate::wire::smtp::session::{Envelope, Verdict};
use crate::wire::smtp::{Reply, answers};

impl SessionDriver {
    /// Who logs in, and whether it may.
    pub(super) async fn check(&mut self, held: &Held) {
        let access = &self.worker.entry.access;
        let (permission, entry) = (Permission::Email, domain::Entry::Smtp);
        let presented = held.presented();
        let decision = match access.check_cached(&presented, permission, entry) {
            Some(granted) => Decision::Allowed(granted),
            None => Box::pin(access.authorize(presented, permission, entry, self.address)).await,
        };
        let verdict = match decision {
            Decision::Allowed(granted) => {
                let name = granted.name().as_str().into();
                self.granted = Some(granted);
                Verdict::Allowed(name)
            }
            Decision::Denied(Denial::Throttled(_)) => Verdict::Throttled,
            Decision::Denied(_) => Verdict::Denied,
            Decision::Unavailable(_) => Verdict::Unavailable,
        };
        self.session.checked(verdict, &mut self.out);
    }

    /// Sender and recipients: decided first, then a backend's word.
    pub(super) async fn envelope(&mut self, envelope: Envelope) {
        let mail = match envelope.mail {
            Some(mail) => {
                let reply = self.decide().await;
                if reply.is_positive() {
                    let mut arguments = mail.arguments;
                    if mail.auth && self.worker.entry.logs_in {
                        arguments.extend_from_slice(b" AUTH=<>");
                    }
                    self.delivery = self.submitter().map(|who| Box::new(self.delivery(who, arguments)));
                    self.under_way = self.worker.under_way.enter();
                }
                Some(reply)
            }
            None => match self.goes_on().await {
                None => return,
                Some(Err(reply)) => {
                    let replies = vec![reply; envelope.rcpts.len()];
                    return self.session.envelope(None, replies, &mut self.out);
                }
                Some(Ok(())) => None,
            },
        };
        let accepted = mail.as_ref().is_none_or(Reply::is_positive);
        let answered = match &mut self.delivery {
            Some(delivery) if accepted && !envelope.rcpts.is_empty() => {
                delivery.rcpts(&envelope.rcpts, envelope.data).await
            }
            _ => Ok(Vec::new()),
        };
        match (answered, mail) {
            (Ok(rcpts), mail) => self.session.envelope(mail, rcpts, &mut self.out),
            // It came with its recipients, and wasn't answered yet.
            (Err(refusal), Some(_)) => self.session.envelope(Some(refusal), Vec::new(), &mut self.out),
            (Err(refusal), None) => {
                let rcpts = vec![refusal; envelope.rcpts.len()];
                self.session.envelope(None, rcpts, &mut self.out);
            }
        }
    }

    /// Whether a transaction may begin now.
    async fn decide(&mut self) -> Reply {
        let entry = &self.worker.entry;
        let Some(granted) = &self.granted else { return answers::AUTH_FIRST };
        let now = entry.access.permissions_now(granted).await;
        let email = Some(Permission::Email);
        let (outcome, reply) = match now {
            Ok(Some(permissions)) if may_send(permissions) => (DecisionOutcome::Allowed, answers::MAIL_OK),
            Ok(Some(_)) => (DecisionOutcome::Denied(Denial::Lacks(Permission::Email)), answers::MAY_NOT_SEND),
            Ok(None) => {
                self.note_revocation();
                (DecisionOutcome::Denied(Denial::Unknown), answers::REVOKED)
            }
            Err(Unavailable::Store | Unavailable::Busy) => {
                (DecisionOutcome::Unavailable, answers::AUTH_UNAVAILABLE)
            }
        };
        if let DecisionOutcome::Denied(denial) = outcome {
            entry.access.note_denied(granted, domain::Entry::Smtp, self.address, denial);
        }
        entry.metrics.decision(domain::Entry::Smtp, email, outcome);
        reply
    }

    fn submitter(&self) -> Option<Arc<Submitter>> {
        let granted = self.granted.as_ref()?;
        let greeting = self.session.greeting()?;
        Some(Arc::new(Submitter {
            user: granted.name().clone(),
            account: granted.account_name().clone(),
            address: self.address,
            helo: String::from_utf8_lossy(&greeting.name).into_owned(),
            esmtp: greeting.extended,
        }))
    }

    fn delivery(&self, who: Arc<Submitter>, mail: Vec<u8>) -> Delivery {
        let entry = &self.worker.entry;
        Delivery::new(entry.backends.clone(), entry.metrics.clone(), self.worker.index, who, mail)
    }
}

fn may_send(permissions: Permissions) -> bool {
    permissions.contains(Permission::Email)
}
