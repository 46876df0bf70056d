//! Who is who on a real server: enrolment with tokens, what the server lets each do, and how deleted agents are cut
//! off. Connections here are those of the stock client; what they may do is the server's word alone.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cut_off;
mod enrolment;
mod forged;
mod support;
