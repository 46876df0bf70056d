//! The gateway on a real server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asking;
mod handing_over;
mod packages;
mod support;
