//! Basic authentication: who may ask.
//!
//! A bcrypt hash costs tens of milliseconds of processor time, on purpose. So each user's last good password is remembered
//! as a digest, and everything else is checked on a thread of its own, one at a time, with a bounded queue: a flood of wrong
//! passwords can delay new sign-ins, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

/// Passwords that may wait to be checked.
const QUEUE_MAX: usize = 32;
/// Longest `Authorization` that is looked at.
const VALUE_BYTES_MAX: usize = 1024;
/// Checked for a user that does not exist, so that the time tells nothing. It is the hash of nothing that anybody knows.
const NOBODY: &str = "$2b$10$gSVgi3kcnNz.uih4xd74rOmi8rUYHQyYmPg8222uxRzktL8N9Jh8.";

/// The users of one web configuration.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// Digest of hash and password that each user gave last and that were right.
    known: Mutex<HashMap<String, [u8; 32]>>,
    queue: Semaphore,
    one_at_a_time: Semaphore,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No user and password, or wrong ones.
    Unknown,
    /// Too many passwords wait to be checked.
    Busy,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Unknown => {
                "this API asks for a user and a password of its web configuration (basic authentication)\n"
            }
            Self::Busy => "too many passwords are being checked now; try again in a moment\n",
        }
    }
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        let (known, queue, one_at_a_time) = (Mutex::default(), Semaphore::new(QUEUE_MAX), Semaphore::new(1));
        Self { hashes, known, queue, one_at_a_time }
    }

    /// Checks the credentials of a request.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let (user, password) = credentials(headers).ok_or(Denied::Unknown)?;
        let hash = self.hashes.get(&user).map_or(NOBODY, String::as_str).to_owned();
        let digest: [u8; 32] = Sha256::new_with_prefix(&hash).chain_update(&password).finalize().into();
        if self.knows(&user, &digest) {
            return Ok(());
        }
        let _place = self.queue.try_acquire().map_err(|_| Denied::Busy)?;
        let _turn = self.one_at_a_time.acquire().await.map_err(|_| Denied::Busy)?;
        // A client that begins with many requests at once is checked once.
        if self.knows(&user, &digest) {
            return Ok(());
        }
        let check = move || bcrypt::verify(&password, &hash).unwrap_or(false);
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if !(is_right && self.hashes.contains_key(&user)) {
            return Err(Denied::Unknown);
        }
        self.known().insert(user, digest);
        Ok(())
    }

    fn knows(&self, user: &str, digest: &[u8; 32]) -> bool {
        self.known().get(user).is_some_and(|known| bool::from(known.ct_eq(digest)))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, [u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// User and password of the one `Authorization` header.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > VALUE_BYTES_MAX {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    Some((user, decoded[colon + 1..].to_vec()))
}

/// For tests of the whole: a cheap hash.
#[cfg(test)]
pub(super) fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn basic(text: &str) -> HeaderMap {
        let value = format!("Basic {}", BASE64_STANDARD.encode(text));
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    fn users() -> Users {
        Users::new(BTreeMap::from([("ann".to_owned(), hash("secret:1")), ("bob".to_owned(), hash("secret2"))]))
    }

    #[tokio::test]
    async fn only_a_user_with_the_right_password_may_ask() {
        let users = users();
        for _ in 0..2 {
            assert_eq!(users.check(&basic("ann:secret:1")).await, Ok(()), "the second time from memory");
        }
        for wrong in ["ann:secret2", "bob:secret:1", "ann:", "eve:secret:1", ":", "ann", "ANN:secret:1"] {
            assert_eq!(users.check(&basic(wrong)).await, Err(Denied::Unknown), "{wrong}");
        }
        assert_eq!(users.check(&HeaderMap::new()).await, Err(Denied::Unknown));
        let mut twice = basic("ann:secret:1");
        twice.append(AUTHORIZATION, basic("bob:secret2")[AUTHORIZATION].clone());
        assert_eq!(users.check(&twice).await, Err(Denied::Unknown), "two headers");
        assert_eq!(users.check(&basic(&format!("ann:{}", "x".repeat(2000)))).await, Err(Denied::Unknown), "long");
        let bearer = HeaderMap::from_iter([(AUTHORIZATION, "Bearer YW5uOnNlY3JldDox".parse().unwrap())]);
        assert_eq!(users.check(&bearer).await, Err(Denied::Unknown));
    }

    #[tokio::test]
    async fn passwords_are_checked_one_at_a_time_and_the_queue_is_bounded() {
        let users = Arc::new(users());
        let turn = users.one_at_a_time.acquire().await.unwrap();
        let waiting: Vec<_> = (0..QUEUE_MAX)
            .map(|number| {
                let users = Arc::clone(&users);
                tokio::spawn(async move { users.check(&basic(&format!("ann:{number}"))).await })
            })
            .collect();
        while users.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(users.check(&basic("ann:one too many")).await, Err(Denied::Busy));
        drop(turn);
        for task in waiting {
            let checked = tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
            assert_eq!(checked, Err(Denied::Unknown));
        }
        assert_eq!(users.check(&basic("ann:secret:1")).await, Ok(()));
    }

    #[tokio::test]
    async fn requests_that_waited_for_the_first_of_their_user_are_not_checked_again() {
        let hash = hash("another");
        let users = Arc::new(Users::new(BTreeMap::from([("ann".to_owned(), hash.clone())])));
        let turn = users.one_at_a_time.acquire().await.unwrap();
        let waiting = tokio::spawn({
            let users = Arc::clone(&users);
            async move { users.check(&basic("ann:not it, says the hash")).await }
        });
        while users.queue.available_permits() == QUEUE_MAX {
            tokio::task::yield_now().await;
        }
        // As the one before has found it.
        let digest = Sha256::new_with_prefix(&hash).chain_update("not it, says the hash").finalize().into();
        users.known().insert("ann".to_owned(), digest);
        drop(turn);
        assert_eq!(waiting.await.unwrap(), Ok(()), "it was checked again");
    }

    #[test]
    fn nobodys_hash_is_one() {
        assert_eq!(NOBODY.parse::<bcrypt::HashParts>().unwrap().get_cost(), 10);
    }
}
