//! The shared token of a group. Pure.
//!
//! Several tokens make a change without a gap: the first is sent, each is accepted. Never shown; compared in constant time.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

/// Shortest token that is accepted.
const TOKEN_CHARS_MIN: usize = 16;

/// The shared tokens of a group. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    accepted: Arc<[String]>,
}

/// What the token is, now and later.
pub type Tokens = watch::Receiver<Token>;

/// Why a text holds no token; completes the sentence "the file …".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is nothing in it.
    #[error("is empty; write a token of at least {TOKEN_CHARS_MIN} characters into it")]
    Empty,
    /// One of its lines is no token. The line itself is a secret.
    #[error(
        "holds no token in line {line}; a token has at least {TOKEN_CHARS_MIN} characters, ASCII letters, digits and punctuation only, and no spaces"
    )]
    Unusable {
        /// Number of the line, from 1.
        line: usize,
    },
}

impl Token {
    /// Reads the tokens, one on a line: the first is sent, each is accepted.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let mut accepted = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let usable = line.len() >= TOKEN_CHARS_MIN && line.iter().all(u8::is_ascii_graphic);
            let token = std::str::from_utf8(line).ok().filter(|_| usable);
            accepted.push(token.ok_or(TokenError::Unusable { line: index + 1 })?.to_owned());
        }
        if accepted.is_empty() { Err(TokenError::Empty) } else { Ok(Self { accepted: accepted.into() }) }
    }

    pub(super) fn sent(&self) -> &str {
        &self.accepted[0]
    }

    /// Compares with every accepted token in constant time.
    pub(super) fn accepts(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let Some(given) = value.and_then(|value| value.strip_prefix(b"Bearer ")) else { return false };
        self.accepted.iter().fold(false, |found, token| found | bool::from(token.as_bytes().ct_eq(given)))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn token(text: &str) -> Result<Token, TokenError> {
        Token::parse(text.as_bytes())
    }

    fn bearer(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {value}").parse().unwrap())])
    }

    #[test]
    fn the_first_token_is_sent_and_each_is_accepted() {
        let token = token("first-token-0123456789\r\n\nsecond-token-0123456789\n").unwrap();
        assert_eq!(token.sent(), "first-token-0123456789");
        assert!(token.accepts(&bearer("first-token-0123456789")));
        assert!(token.accepts(&bearer("second-token-0123456789")));
        assert!(!token.accepts(&bearer("first-token-012345678")));
        assert!(!token.accepts(&HeaderMap::new()));
    }

    #[test]
    fn an_empty_or_short_token_is_refused_and_no_token_is_ever_shown() {
        assert_eq!(token("\n"), Err(TokenError::Empty));
        assert_eq!(token("short"), Err(TokenError::Unusable { line: 1 }));
        let spaced = token("a-token-of-24-characters\n\na token with some spaces\n").unwrap_err();
        assert_eq!(spaced, TokenError::Unusable { line: 3 });
        assert!(!spaced.to_string().contains("with some"), "{spaced}");
        assert_eq!(format!("{:?}", token("secret-0123456789").unwrap()), "Token(..)");
    }
}
