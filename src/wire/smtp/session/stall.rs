//! A client that pauses within content that is refused already, or that it may take for a complete message. It may wait for
//! the reply, which would otherwise come only at an end that the client never sends.

use super::phase::SessionPhase;
use super::{Reply, SmtpSession, replies};

impl SmtpSession {
    /// Returns true if the client may take its message for complete, and await the reply. The driver then waits less long for
    /// input. It does not while only the LF of the end is missing, and not for the rest of other content that is refused: a client
    /// that is slow has to send it all before it reads the reply.
    pub fn may_await_reply(&self) -> bool {
        match &self.phase {
            SessionPhase::Data(data) => data.reader.may_have_ended() && !data.reader.is_within_end(),
            _ => false,
        }
    }

    /// Returns true if [`SmtpSession::end_stalled`] has a reply.
    pub fn may_stall(&self) -> bool {
        match &self.phase {
            SessionPhase::Data(data) => data.body.rejection.is_some() || data.reader.may_have_ended(),
            SessionPhase::Chunk(chunk) => chunk.body.rejection.is_some(),
            SessionPhase::SkippedChunk(_) => true,
            _ => false,
        }
    }

    /// Ends the session after a pause of its client, with the reply to its message. Returns false if the session awaits something
    /// else than content that is refused.
    pub fn end_stalled(&mut self, out: &mut Vec<u8>) -> bool {
        let known = match &self.phase {
            SessionPhase::Data(data) => data.body.rejection.clone(),
            SessionPhase::Chunk(chunk) => chunk.body.rejection.clone(),
            _ => None,
        };
        let new: Option<Reply> = match &self.phase {
            SessionPhase::Data(data) => data.reader.may_have_ended().then_some(replies::END_NOT_RECOGNIZED),
            SessionPhase::SkippedChunk(skip) => Some(skip.reply.clone()),
            _ => None,
        };
        match (known, new) {
            // Noted when it was refused.
            (Some(reply), _) => self.close_with(&reply, out),
            (None, Some(reply)) => {
                self.within = self.phase.is_within_transaction();
                self.end_with(&reply, out);
            }
            (None, None) => return false,
        }
        true
    }
}
