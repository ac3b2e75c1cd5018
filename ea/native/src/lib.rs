//! Runs an MQL5 Expert Advisor natively on Linux: its own source, translated to C++ with the lines kept, compiled with
//! a runtime that does what the terminal would do, and is stricter where the terminal would be silent.
//!
//! There is no `MetaEditor` on Linux. So a source is also checked for what g++ takes and `MetaEditor` refuses, or reads
//! otherwise ([`lint`]), and for names that the documentation does not know ([`documented`]).

mod compile;
pub mod documented;
mod finding;
pub mod lint;
pub mod outline;
pub mod source;
pub mod token;
pub mod translate;

pub use compile::{Build, BuildError, build, check};
pub use finding::Finding;
