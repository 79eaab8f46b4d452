//! The real binary, in directories of its own, against real servers.

mod support;

mod smoke;
