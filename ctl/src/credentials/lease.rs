//! How long a value is good: pure, so that every moment can be tested without waiting for it.

use std::time::{Duration, Instant};

/// What was agreed for one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Fetch again after this time; the source's own expiry counts as well. Nothing means only that.
    pub ttl: Option<Duration>,
    /// After a failure, try again after this time.
    pub failure_ttl: Duration,
    /// While the source fails, use an expired value for this much longer.
    pub stale: Duration,
}

/// One credential's value in time. `V` is the value.
#[derive(Debug)]
pub struct Lease<V> {
    terms: Terms,
    held: Option<Held<V>>,
    failure: Option<(Instant, String)>,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    renew: Option<Instant>,
    expires: Option<Instant>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { ttl: None, failure_ttl: Duration::from_secs(30), stale: Duration::ZERO }
    }
}

/// Fetching begins this long before expiry, or half way where a value lives less than twice as long: a request must not wait
/// for a token endpoint.
const MARGIN: Duration = Duration::from_secs(30);

impl<V> Lease<V> {
    pub fn new(terms: Terms) -> Self {
        Self { terms, held: None, failure: None }
    }

    /// Agrees on other terms; they count from the next value on.
    pub fn agree(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Why the source failed when it was asked last; nothing where it gave a value.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|(_, reason)| &**reason)
    }

    /// A value came, good for `life` by its source's word.
    pub fn renew(&mut self, now: Instant, value: V, life: Option<Duration>) {
        let life = match (life, self.terms.ttl) {
            (Some(life), Some(ttl)) => Some(life.min(ttl)),
            (life, ttl) => life.or(ttl),
        };
        let renew = life.map(|life| now + life.saturating_sub(MARGIN).max(life / 2));
        self.held = Some(Held { value, renew, expires: life.map(|life| now + life) });
        self.failure = None;
    }

    /// The source failed.
    pub fn fail(&mut self, now: Instant, reason: String) {
        self.failure = Some((now, reason));
    }

    /// The value was taken back: nothing is used any longer, whatever was agreed.
    pub fn revoke(&mut self, now: Instant, reason: String) {
        self.held = None;
        self.failure = Some((now, reason));
    }

    /// When the source is to be asked again; nothing where only a change of the source counts.
    pub fn due(&self) -> Option<Instant> {
        match &self.failure {
            Some((at, _)) => Some(*at + self.terms.failure_ttl),
            None => self.held.as_ref().and_then(|held| held.renew),
        }
    }

    /// When [`value`](Self::value) changes by time alone.
    pub fn ends(&self) -> Option<Instant> {
        self.held.as_ref().and_then(|held| held.expires).map(|expires| expires + self.terms.stale)
    }

    /// The value to use.
    ///
    /// # Errors
    /// Why there is none.
    pub fn value(&self, now: Instant) -> Result<&V, String> {
        let none = || self.failure().unwrap_or("it was not fetched yet").to_owned();
        let held = self.held.as_ref().ok_or_else(none)?;
        match (self.ends(), self.failure()) {
            (Some(ends), None) if now >= ends => Err("it has expired".to_owned()),
            (Some(ends), Some(reason)) if now >= ends => Err(format!("it has expired; {reason}")),
            _ => Ok(&held.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(ttl: Option<u32>, stale: u32) -> (Lease<&'static str>, Instant) {
        (
            Lease::new(Terms { ttl: ttl.map(|s| s * SECOND), failure_ttl: 10 * SECOND, stale: stale * SECOND }),
            Instant::now(),
        )
    }

    #[test]
    fn renewed_before_it_expires() {
        let (mut lease, now) = lease(None, 0);
        lease.renew(now, "a", Some(300 * SECOND));
        assert_eq!(lease.due(), Some(now + 270 * SECOND));
        assert_eq!(lease.value(now + 299 * SECOND), Ok(&"a"));
        assert_eq!(lease.value(now + 300 * SECOND), Err("it has expired".to_owned()));
        lease.renew(now, "b", Some(40 * SECOND));
        assert_eq!(lease.due(), Some(now + 20 * SECOND), "short ones half way");
    }

    #[test]
    fn the_shorter_of_ttl_and_expiry_counts() {
        let (mut lease, now) = lease(Some(100), 0);
        lease.renew(now, "a", Some(300 * SECOND));
        assert_eq!(lease.due(), Some(now + 70 * SECOND));
        lease.renew(now, "a", None);
        assert_eq!(lease.due(), Some(now + 70 * SECOND));
    }

    #[test]
    fn without_either_it_stays() {
        let (mut lease, now) = lease(None, 0);
        lease.renew(now, "a", None);
        assert_eq!((lease.due(), lease.ends()), (None, None));
        assert_eq!(lease.value(now + 1_000_000 * SECOND), Ok(&"a"));
    }

    #[test]
    fn k27_a_failing_source_is_asked_again_and_its_value_used_as_long_as_agreed() {
        let (mut lease, now) = lease(None, 60);
        assert!(lease.value(now).is_err());
        lease.renew(now, "a", Some(100 * SECOND));
        lease.fail(now + 70 * SECOND, "the endpoint is down".to_owned());
        assert_eq!(lease.due(), Some(now + 80 * SECOND));
        assert_eq!(lease.value(now + 159 * SECOND), Ok(&"a"));
        assert_eq!(lease.value(now + 160 * SECOND), Err("it has expired; the endpoint is down".to_owned()));
        lease.renew(now + 170 * SECOND, "b", Some(100 * SECOND));
        assert_eq!(lease.value(now + 170 * SECOND), Ok(&"b"));
    }

    #[test]
    fn k9_what_was_revoked_is_gone_at_once() {
        let (mut lease, now) = lease(None, 60);
        lease.renew(now, "a", Some(100 * SECOND));
        lease.revoke(now + SECOND, "it was revoked".to_owned());
        assert_eq!(lease.value(now + SECOND), Err("it was revoked".to_owned()));
    }
}
