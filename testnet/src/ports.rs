//! Free ports of 127.0.0.1, chosen by the system.
//!
//! A port is bound, read and released before the process that is to have it
//! starts. Between the two the system could give it away; it hands such ports out
//! in a cycle, so that it practically never does, and a node that finds its port
//! taken says so and ends.

use std::{io, net::TcpListener};

/// Ports that were all free at one moment, and so are distinct.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_are_distinct_and_free() {
        let ports = super::free(12).unwrap();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 12);
        // A child that another test just forked holds every descriptor until it has begun.
        let bound = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::net::TcpListener::bind(("127.0.0.1", ports[0])).is_ok()
        });
        assert!(bound);
    }
}
