//! What a policy means, checked against measured verdicts and against tables of our own.
//!
//! The rows are those of OpenShell's conformance table, numbered as there; where we differ on purpose the row says what
//! we do.

mod ask;
mod canonical;
mod connections;
mod corpus;
mod documents;
mod operations;
mod overlap;
mod requests;
mod samples;
mod table;
