//! A piece of a response that waits to be sent over HTTP/2, and the room that it takes until it is.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::edge::http::quota::{Quota, QuotaLease, Use};
use crate::edge::http::service::Plan;

/// A piece of a response. The h2 crate drops it once it is sent, or its stream is reset.
#[derive(Debug)]
pub struct SentPiece {
    bytes: Bytes,
    /// The room that it takes, if no credential was accepted.
    _room: Option<Arc<QuotaLease>>,
}

impl SentPiece {
    /// A piece that takes a part of `room`.
    pub fn new(bytes: Bytes, room: Option<Arc<QuotaLease>>) -> SentPiece {
        SentPiece { bytes, _room: room }
    }
}

impl Buf for SentPiece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// The room for responses to one source.
pub struct SendRoom {
    quota: Arc<Quota>,
    source: IpAddr,
    /// The plan with the limits.
    plan: Arc<Plan>,
}

impl SendRoom {
    /// The room of `quota` that `source` may take.
    pub fn new(quota: Arc<Quota>, source: IpAddr, plan: Arc<Plan>) -> SendRoom {
        SendRoom { quota, source, plan }
    }

    /// Takes room for a piece of `length` bytes, and waits for it if others wait for little. `None` means that there is none, since
    /// clients of this source, or all of them, don't read what they asked for.
    pub async fn take(&self, length: usize) -> Option<Arc<QuotaLease>> {
        let lease =
            |purpose| QuotaLease::new(self.quota.clone(), self.source, Some(purpose), &self.plan.forms);
        let mut room = lease(Use::Answer);
        if room.cover_answer(length) {
            return Some(Arc::new(room));
        }
        // What waits takes memory, too.
        let mut waiting = lease(Use::Waiting);
        if !waiting.cover_answer(length) {
            return None;
        }
        room.cover_answer_in_time(length).await;
        Some(Arc::new(room))
    }
}
