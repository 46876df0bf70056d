//! muster-result-collector
