//! Requests a second for each client address: a token bucket each, in a table of
//! bounded size. An IPv6 client is its /64, because it has all of it.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Client addresses remembered at once.
const ADDRESSES_MAX: usize = 4_096;
/// A quiet client may catch up so many seconds' worth at once.
const BURST_SECONDS: f64 = 2.0;

pub struct RateLimiter {
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimiter {
    pub fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), buckets: Mutex::default() }
    }

    fn burst(&self) -> f64 {
        self.per_second * BURST_SECONDS
    }

    /// Takes one token, or says how long until there is one.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = client_of(address);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&client) {
            self.make_room(&mut buckets, now);
        }
        let fresh = Bucket { tokens: self.burst(), at: now };
        let bucket = buckets.entry(client).or_insert(fresh);
        bucket.tokens = self.tokens_at(bucket, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    fn tokens_at(&self, bucket: &Bucket, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + elapsed * self.per_second).min(self.burst())
    }

    /// Forgets clients whose buckets are full again; when all are busy, the quietest.
    fn make_room(&self, buckets: &mut HashMap<IpAddr, Bucket>, now: Instant) {
        buckets.retain(|_, bucket| self.tokens_at(bucket, now) < self.burst());
        if buckets.len() < ADDRESSES_MAX {
            return;
        }
        if let Some(quietest) = buckets.iter().min_by_key(|(_, bucket)| bucket.at) {
            let quietest = *quietest.0;
            buckets.remove(&quietest);
        }
    }
}

fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_burst_is_served_then_the_rate_holds_and_time_refills_it() {
        let (limiter, start) = (RateLimiter::new(10), Instant::now());
        for _ in 0..20 {
            assert_eq!(limiter.take(CLIENT, start), Ok(()));
        }
        let wait = limiter.take(CLIENT, start).unwrap_err();
        assert!((0.09..=0.11).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(limiter.take(CLIENT, start + Duration::from_millis(150)), Ok(()));
        assert!(limiter.take(CLIENT, start + Duration::from_millis(150)).is_err());
    }

    #[test]
    fn one_client_does_not_spend_anothers_tokens() {
        let (limiter, now) = (RateLimiter::new(1), Instant::now());
        while limiter.take(CLIENT, now).is_ok() {}
        assert_eq!(limiter.take("10.0.0.2".parse().unwrap(), now), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_client() {
        let (limiter, now) = (RateLimiter::new(1), Instant::now());
        while limiter.take("2001:db8::1".parse().unwrap(), now).is_ok() {}
        assert!(limiter.take("2001:db8::2".parse().unwrap(), now).is_err());
        assert!(limiter.take("2001:db8:0:1::2".parse().unwrap(), now).is_ok());
        // The same IPv4 client, however the socket shows it.
        while limiter.take(CLIENT, now).is_ok() {}
        assert!(limiter.take("::ffff:127.0.0.1".parse().unwrap(), now).is_err());
    }

    #[test]
    fn the_table_does_not_grow_beyond_its_bound() {
        let (limiter, now) = (RateLimiter::new(1), Instant::now());
        for number in 0..10_000u32 {
            limiter.take(IpAddr::V4(number.into()), now).unwrap();
        }
        assert!(limiter.buckets.lock().len() <= ADDRESSES_MAX);
    }
}
