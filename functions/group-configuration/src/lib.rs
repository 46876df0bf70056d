//! group-configuration
