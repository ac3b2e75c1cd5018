//! The edge of the API against senders that mean ill or know no better, over plain sockets: what they get, and that
//! nobody else notices.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod support;

mod edge {
    mod bodies;
    mod limits;
    mod slow;
    mod wire;
    mod words;
}
