//! What a policy means, checked against measured verdicts and against tables of our own.

mod ask;
mod canonical;
mod corpus;
