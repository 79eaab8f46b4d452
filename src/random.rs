//! Random bytes: keys, nonces, ids, and the seed of the jitter.

use std::cell::RefCell;
use zeroize::Zeroize;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_SIZE], used: POOL_SIZE }) };
}

const POOL_SIZE: usize = 512;

/// Random bytes of the system's that have not been given out.
struct Pool {
    bytes: [u8; POOL_SIZE],
    used: usize,
}

/// Random bytes from the system, which is asked for many at once.
///
/// # Panics
/// When the system has none, which leaves nothing to do.
#[must_use]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= POOL_SIZE) };
    POOL.with_borrow_mut(|pool| {
        if POOL_SIZE - pool.used < N {
            getrandom::fill(&mut pool.bytes).expect("the system gives random bytes");
            pool.used = 0;
        }
        let next = &mut pool.bytes[pool.used..pool.used + N];
        pool.used += N;
        let bytes = next.try_into().expect("N bytes were taken");
        // What was given out is a key to be, or a nonce: it is nowhere else.
        next.zeroize();
        bytes
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_bytes_come_twice() {
        let drawn: HashSet<[u8; 24]> = (0..1000).map(|_| super::bytes()).collect();
        assert_eq!(drawn.len(), 1000);
        assert!(!drawn.contains(&[0; 24]));
    }
}
