//! group-assignment
