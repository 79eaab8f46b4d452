use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(secs: i64) -> WallTime {
    WallTime::from_secs(secs)
}

fn all(queue: &mut Queue, now: WallTime) -> Vec<u32> {
    queue.unpark();
    std::iter::from_fn(|| queue.pop(now, |_| true)).collect()
}

#[test]
fn the_living_go_first_then_the_expired() {
    let mut queue = Queue::new();
    for (index, expires) in [(0, 90), (1, 50), (2, 120), (3, 110), (4, 100)] {
        queue.insert(index, 0, at(expires));
        queue.arm(index, at(10 + i64::from(index)));
    }
    assert_eq!(queue.next_due(), Some(at(10)));
    assert_eq!(queue.release(at(9)), 0);
    assert_eq!(queue.release(at(80)), 5);
    assert_eq!(queue.next_due(), None);
    // At 100 two tokens have expired since they became ready, and grant 4's just now.
    assert_eq!(all(&mut queue, at(100)), [3, 2, 1, 0, 4]);
    assert_eq!((queue.ready(), queue.len()), (0, 5));
}

#[test]
fn a_blocked_lane_holds_up_no_other() {
    let mut queue = Queue::new();
    for index in 0..6 {
        queue.insert(index, index % 3, at(100 + i64::from(index)));
        queue.arm(index, at(0));
    }
    queue.release(at(0));
    let mut asked = Vec::new();
    let next = queue.pop(at(0), |lane| {
        asked.push(lane);
        lane == 2
    });
    assert_eq!((next, asked), (Some(2), vec![0, 1, 2]));
    assert_eq!(queue.pop(at(0), |_| false), None);
    assert_eq!(all(&mut queue, at(0)), [0, 1, 3, 4, 5]);
}

/// So that a host whose places are all taken is not asked about again for each grant that
/// is due elsewhere.
#[test]
fn a_lane_that_is_not_let_through_is_parked_until_a_place_is_free() {
    let mut queue = Queue::new();
    for index in 0..4 {
        queue.insert(index, index % 2, at(100 + i64::from(index)));
        queue.arm(index, at(0));
    }
    queue.release(at(0));
    assert_eq!(queue.lanes_ready(), 2);
    assert_eq!(queue.pop(at(0), |lane| lane == 1), Some(1));
    assert_eq!(queue.lanes_ready(), 1, "one was turned away");
    let mut asked = Vec::new();
    let next = queue.pop(at(0), |lane| {
        asked.push(lane);
        true
    });
    assert_eq!((next, asked), (Some(3), vec![1]));
    assert_eq!(queue.pop(at(0), |_| true), None);
    assert_eq!(queue.ready(), 2, "they are ready all the same");
    // What becomes ready there meanwhile does not bring it back.
    queue.insert(5, 0, at(50));
    queue.arm(5, at(0));
    queue.release(at(0));
    assert_eq!(queue.pop(at(0), |_| true), None);
    queue.unpark();
    assert_eq!(queue.lanes_ready(), 1);
    assert_eq!(queue.pop(at(0), |_| true), Some(5));
}

#[test]
fn the_lane_with_the_fewest_under_way_goes_first() {
    let mut queue = Queue::new();
    // All of lane 0 end sooner than those of lane 1.
    for (index, lane, expires) in [(0, 0, 50), (1, 0, 51), (2, 1, 90), (3, 1, 91), (4, 2, -5)] {
        queue.insert(index, lane, at(expires));
        queue.arm(index, at(0));
    }
    queue.release(at(0));
    let mut taken = Vec::new();
    let mut load = [0; 3];
    while let Some(index) = queue.pop(at(0), |_| true) {
        let lane = [0, 0, 1, 1, 2][index as usize];
        load[lane as usize] += 1;
        queue.set_load(lane, load[lane as usize]);
        taken.push(index);
    }
    // Who lives goes before who does not, where as many are under way.
    assert_eq!(taken, [0, 2, 4, 1, 3]);
    // A lane that there is not yet has none.
    queue.set_load(9, 3);
}

#[test]
fn arming_again_replaces_and_never_disarms() {
    let mut queue = Queue::new();
    queue.insert(7, 0, at(100));
    queue.arm(7, at(10));
    queue.arm(7, at(30));
    assert_eq!(queue.next_due(), Some(at(30)));
    queue.arm(7, at(20));
    assert_eq!((queue.release(at(20)), queue.ready()), (1, 1));
    // Ready, and armed again: no longer ready.
    queue.arm(7, at(40));
    assert_eq!((queue.pop(at(30), |_| true), queue.ready()), (None, 0));
    queue.arm(7, WallTime::NEVER);
    assert_eq!(queue.next_due(), None);
    queue.arm(8, at(1));
    assert_eq!(
        queue.next_due(),
        None,
        "a grant that is not in cannot be armed"
    );
}

#[test]
fn a_removed_grant_never_comes_back() {
    let mut queue = Queue::new();
    queue.insert(0, 0, at(100));
    queue.arm(0, at(10));
    queue.remove(0);
    queue.remove(0);
    assert_eq!((queue.next_due(), queue.len()), (None, 0));
    queue.insert(0, 1, at(200));
    assert_eq!(queue.release(at(50)), 0, "the old arming is void");
    queue.arm(0, at(60));
    queue.release(at(60));
    assert_eq!(queue.pop(at(60), |lane| lane == 1), Some(0));
}

#[test]
fn rearming_for_ever_does_not_grow_it() {
    let mut queue = Queue::new();
    for index in 0..1000 {
        queue.insert(index, 0, at(100));
    }
    for round in 0..100 {
        for index in 0..1000 {
            // Later and later, so that no stale entry comes to the top by itself.
            queue.arm(index, at(1000 + round));
        }
    }
    assert!(
        queue.armed.entries() <= 2 * 1000 + 1,
        "{}",
        queue.armed.entries()
    );
    for index in 0..1000 {
        queue.remove(index);
    }
    assert!(queue.armed.memory() <= 64 * 1024);
}

#[test]
fn a_rush_gives_its_memory_back() {
    let mut queue = Queue::new();
    for index in 0..100_000 {
        queue.insert(index, 0, at(100));
        queue.arm(index, at(0));
    }
    let before = queue.memory();
    assert!(before / 100_000 <= 48, "{} bytes a grant", before / 100_000);
    queue.release(at(0));
    for index in all(&mut queue, at(0)) {
        queue.arm(index, at(1000));
    }
    assert!(
        queue.memory() <= before + 4096,
        "{} > {before}",
        queue.memory()
    );
}

/// The queue as one would write it without a thought for speed.
#[derive(Default)]
struct Model(BTreeMap<u32, Naive>);

#[derive(Clone, Copy)]
struct Naive {
    lane: u32,
    expires: i64,
    due: Option<i64>,
    ready: bool,
}

impl Model {
    fn release(&mut self, now: i64) -> usize {
        let due = self
            .0
            .values_mut()
            .filter(|g| g.due.is_some_and(|due| due <= now));
        due.map(|g| (g.due, g.ready) = (None, true)).count()
    }

    fn pop(&mut self, now: i64, blocked: u32) -> Option<u32> {
        let ready = self.0.iter().filter(|(_, g)| g.ready && g.lane != blocked);
        let key = |(index, g): &(&u32, &Naive)| (g.expires <= now, g.expires, g.lane, **index);
        let index = *ready.min_by_key(key)?.0;
        self.0.get_mut(&index)?.ready = false;
        Some(index)
    }

    fn next_due(&self) -> Option<i64> {
        self.0.values().filter_map(|g| g.due).min()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, u32, i64),
    Arm(u32, i64),
    Remove(u32),
    Advance(i64),
    Release,
    Pop(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let index = 0_u32..24;
    prop_oneof![
        2 => (index.clone(), 0_u32..4, 0_i64..200).prop_map(|(i, l, e)| Op::Insert(i, l, e)),
        8 => (index.clone(), 0_i64..200).prop_map(|(i, due)| Op::Arm(i, due)),
        1 => index.prop_map(Op::Remove),
        2 => (0_i64..20).prop_map(Op::Advance),
        3 => Just(Op::Release),
        4 => (0_u32..6).prop_map(Op::Pop),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(ops in prop::collection::vec(op(), 0..600)) {
        let (mut queue, mut model, mut now) = (Queue::new(), Model::default(), 0);
        for op in ops {
            match op {
                Op::Insert(index, lane, expires) => {
                    queue.insert(index, lane, WallTime(expires));
                    model.0.insert(index, Naive { lane, expires, due: None, ready: false });
                }
                Op::Arm(index, due) => {
                    queue.arm(index, WallTime(due));
                    if let Some(grant) = model.0.get_mut(&index) {
                        (grant.due, grant.ready) = (Some(due), false);
                    }
                }
                Op::Remove(index) => {
                    queue.remove(index);
                    model.0.remove(&index);
                }
                Op::Advance(by) => now += by,
                Op::Release => prop_assert_eq!(queue.release(WallTime(now)), model.release(now)),
                Op::Pop(blocked) => {
                    queue.unpark();
                    let popped = queue.pop(WallTime(now), |lane| lane != blocked);
                    prop_assert_eq!(popped, model.pop(now, blocked));
                }
            }
            prop_assert_eq!(queue.next_due(), model.next_due().map(WallTime));
            prop_assert_eq!(queue.len(), model.0.len());
            prop_assert_eq!(queue.ready(), model.0.values().filter(|g| g.ready).count());
            prop_assert!(queue.armed.entries() <= 2 * 24 + 64 + 1);
        }
    }
}
