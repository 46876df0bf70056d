//! muster-comms-api
