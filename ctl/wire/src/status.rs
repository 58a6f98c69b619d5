//! The operator API's answers.
