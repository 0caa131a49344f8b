//! Errors in words: what an error says, and what is behind it.

use std::error::Error;

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !words.ends_with(&text) {
            words = format!("{words}: {text}");
        }
        next = source.source();
    }
    words
}
