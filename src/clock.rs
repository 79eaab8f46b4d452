//! The machine's clocks: one trusted time for everyone, and an alarm that
//! counts suspend and wakes when the wall clock is set.

use refreshd_core::flight::Stamp;
use refreshd_core::time::{BootTime, Clock, Now, WallTime};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// No wait is longer than this, whatever the timers say.
pub const MAX_WAIT: Duration = refreshd_core::scheduler::MAX_WAIT;

/// The trusted time, shared by all tasks.
#[derive(Clone, Debug)]
pub struct SharedClock {
    clock: Arc<Mutex<Clock>>,
    boot_id: Arc<str>,
}

impl SharedClock {
    /// Starts from the machine's clocks and from the latest moment that is
    /// remembered.
    #[must_use]
    pub fn new(last_seen: Option<&Stamp>) -> Self {
        let boot_id = boot_id();
        let clock = Clock::new(reading(), &boot_id, last_seen);
        SharedClock {
            clock: Arc::new(Mutex::new(clock)),
            boot_id: boot_id.into(),
        }
    }

    /// The time to go by.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock().observe(reading())
    }

    /// The wall time to go by.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.now().wall
    }

    /// This moment, for records.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let now = self.now();
        Stamp {
            wall: now.wall,
            boot: now.boot,
            boot_id: self.boot_id.to_string(),
        }
    }

    /// Whether the system's wall clock is being followed.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        let mut clock = self.clock();
        clock.observe(reading());
        clock.is_trusted()
    }

    /// Follows the system's wall clock again, even if that is a step back.
    pub fn accept(&self) {
        self.clock().accept(reading());
    }

    fn clock(&self) -> std::sync::MutexGuard<'_, Clock> {
        self.clock
            .lock()
            .expect("nothing panics while it holds the clock")
    }
}

/// The kernel's id of this boot; empty where it does not tell.
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// What the machine's clocks show.
pub(crate) fn reading() -> Now {
    let millis = |t: Timespec| {
        t.tv_sec
            .saturating_mul(1000)
            .saturating_add(t.tv_nsec / 1_000_000)
    };
    Now {
        wall: WallTime(millis(clock_gettime(ClockId::Realtime))),
        boot: BootTime(millis(clock_gettime(ClockId::Boottime))),
    }
}

/// Wakes at a moment, at a step of the wall clock, or after [`MAX_WAIT`].
#[derive(Debug)]
pub struct Alarm {
    boot: AsyncFd<OwnedFd>,
    wall: AsyncFd<OwnedFd>,
    /// When the first rings, in milliseconds of boot time; 0: it is to be set.
    rings_at: AtomicI64,
    /// Until when the other watches for steps, in seconds of wall time.
    watches_until: AtomicI64,
}

/// So long the wall clock is watched by one setting of its timer.
const WATCH: i64 = 86_400;

impl Alarm {
    /// Makes the two timers. Needs a running runtime.
    ///
    /// # Errors
    /// When the kernel gives no timers.
    pub fn new() -> io::Result<Self> {
        let timer = |clock| {
            let fd = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "an OwnedFd stays open while it is registered, which is what the deprecation is about"
            )]
            AsyncFd::new(fd)
        };
        Ok(Alarm {
            boot: timer(TimerfdClockId::Boottime)?,
            wall: timer(TimerfdClockId::Realtime)?,
            rings_at: AtomicI64::new(0),
            watches_until: AtomicI64::new(0),
        })
    }

    /// Returns once `wait` is over (at most [`MAX_WAIT`]), or earlier: when the wall clock
    /// was set, or at a moment that was waited for before. A timer that rings in time
    /// already is left alone, since under load there is another wait with each refresh.
    ///
    /// # Errors
    /// When a timer cannot be set or read.
    pub async fn sleep(&self, wait: Duration) -> io::Result<()> {
        // Zero would disarm the timer.
        let wait = wait.clamp(Duration::from_millis(1), MAX_WAIT);
        self.ring_within(wait)?;
        self.watch_for_steps()?;
        tokio::select! {
            rang = fired(&self.boot) => {
                self.rings_at.store(0, Ordering::Relaxed);
                rang
            }
            stepped = fired(&self.wall) => {
                self.watches_until.store(0, Ordering::Relaxed);
                stepped
            }
        }
    }

    fn ring_within(&self, wait: Duration) -> io::Result<()> {
        let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let at = reading().boot.0.saturating_add(millis);
        let rings_at = self.rings_at.load(Ordering::Relaxed);
        if rings_at != 0 && rings_at <= at {
            return Ok(());
        }
        let relative = Itimerspec {
            it_interval: zero(),
            it_value: timespec(wait),
        };
        timerfd_settime(self.boot.get_ref(), TimerfdTimerFlags::empty(), &relative)?;
        self.rings_at.store(at, Ordering::Relaxed);
        Ok(())
    }

    fn watch_for_steps(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Realtime).tv_sec;
        if self.watches_until.load(Ordering::Relaxed) - now > WATCH / 2 {
            return Ok(());
        }
        let until = now + WATCH;
        let absolute = Itimerspec {
            it_interval: zero(),
            it_value: Timespec {
                tv_sec: until,
                tv_nsec: 0,
            },
        };
        let on_set = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(self.wall.get_ref(), on_set, &absolute)?;
        self.watches_until.store(until, Ordering::Relaxed);
        Ok(())
    }
}

async fn fired(timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut guard = timer.readable().await?;
        let mut count = [0u8; 8];
        match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut count)?)) {
            // ECANCELED says that the clock was set.
            Ok(Err(e)) if e.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => return Ok(()),
            Ok(read) => return read.map(|_| ()),
            Err(_would_block) => {}
        }
    }
}

fn zero() -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_alarm_rings_and_can_be_set_again() {
        let alarm = Alarm::new().expect("timers");
        let clock = SharedClock::new(None);
        let before = clock.now();
        alarm.sleep(Duration::from_millis(20)).await.expect("rings");
        alarm.sleep(Duration::ZERO).await.expect("rings at once");
        let after = clock.now();
        assert!(after.boot.0 - before.boot.0 >= 20);
        assert!(after.wall >= before.wall);
    }
}
