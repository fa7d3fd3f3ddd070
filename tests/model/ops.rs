//! What may happen, and how it is drawn.

use proptest::prelude::*;
use proptest::strategy::Union;

use super::rules::{ALL, Case, Keys, Role, Set, people};

pub const HOLD: i64 = 40;
/// How long a key set is in force.
pub const BRIEF: i64 = 60;
pub const LONG: i64 = 86_400;

/// What somebody asks a gateway. A slot is one of the orders so far, counted round.
#[derive(Debug, Clone)]
pub enum Call {
    Instruct(Instruct),
    /// The bytes of an order once more.
    Again {
        slot: usize,
        /// Of one by a key that has left, where there is one.
        left: bool,
    },
    /// `entitled`: of one that waits, by one of those who may and have not signed; else of any, by that key or a stranger's.
    Approve {
        slot: usize,
        key: usize,
        entitled: bool,
        hides: bool,
    },
    /// `own`: from one that waits, by one of those who signed.
    Withdraw {
        slot: usize,
        key: usize,
        own: bool,
    },
    Contest {
        slot: usize,
    },
    Rotate(Next),
    /// The agent takes what it is given, begins what it has a warrant for and refuses the rest.
    Lease,
    /// It reports what it began and still holds.
    Report,
}

#[derive(Debug, Clone)]
pub struct Instruct {
    pub about: About,
    pub keys: Keys,
    /// By those of them alone who may; and a revocation, of what is still open.
    pub entitled: bool,
    /// The first of them twice.
    pub twice: bool,
    /// Naming the version before the newest.
    pub behind: bool,
    /// Seconds.
    pub life: i64,
}

#[derive(Debug, Clone)]
pub enum About {
    One {
        media: bool,
        case: Case,
    },
    /// A contract's end, so many seconds ahead.
    End(i64),
    Order {
        slot: usize,
    },
}

/// The next key set, before it is made to fit: an act's people at least as many as it takes.
#[derive(Debug, Clone)]
pub struct Next {
    keys: Keys,
    erase: Role,
    end: Role,
    revoke: Role,
    media: usize,
    minor: usize,
    hold: bool,
    brief: bool,
}

impl Next {
    pub fn set(&self, now: i64) -> Set {
        let fit = |role: Role| {
            let keys = role.keys & self.keys;
            Role { keys, threshold: role.threshold.min(people(keys)) }
        };
        let erase = fit(self.erase);
        Set {
            keys: self.keys,
            erase,
            end: fit(self.end),
            revoke: fit(self.revoke),
            media: self.media.min(people(erase.keys)),
            minor: self.minor.min(people(erase.keys)),
            hold: if self.hold { HOLD } else { 0 },
            exp: now + if self.brief { BRIEF } else { LONG },
        }
    }
}

/// What all begin with: an erasure takes two, one more where recordings are concerned or a minor; not everybody may
/// do everything, and the first person's second key may nothing.
pub fn first(now: i64) -> Set {
    Set {
        keys: ALL,
        erase: Role { keys: 0b11101, threshold: 2 },
        end: Role { keys: 0b00101, threshold: 1 },
        revoke: Role { keys: 0b11001, threshold: 2 },
        media: 3,
        minor: 3,
        hold: 0,
        exp: now + LONG,
    }
}

/// What may be drawn: where time is the test's own, everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    Own,
    /// Nothing is held and nothing ends within a history.
    Real,
}

fn a_role() -> impl Strategy<Value = Role> {
    let keys = prop_oneof![2 => Just(ALL), 4 => 1..=ALL, 1 => Just(0)];
    (keys, 1usize..4).prop_map(|(keys, threshold)| Role { keys, threshold })
}

fn a_next(time: Time) -> impl Strategy<Value = Next> {
    let keys = prop_oneof![3 => Just(ALL), 2 => 1..=ALL];
    let own = if time == Time::Own { 1.0 } else { 0.0 };
    let tiers = (0usize..4, 0usize..4);
    let policy = (prop::bool::weighted(0.5 * own), prop::bool::weighted(0.2 * own));
    (keys, a_role(), a_role(), a_role(), tiers, policy).prop_map(
        |(keys, erase, end, revoke, (media, minor), (hold, brief))| Next {
            keys,
            erase,
            end,
            revoke,
            media,
            minor,
            hold,
            brief,
        },
    )
}

fn an_instruction(time: Time) -> impl Strategy<Value = Instruct> {
    let case = prop_oneof![
        2 => Just(Case::None),
        2 => Just(Case::Named { minor: false }),
        1 => Just(Case::Named { minor: true }),
    ];
    let one = (prop::bool::weighted(0.3), case);
    let (ahead, life) = match time {
        Time::Own => (vec![0, 60], vec![50, 400]),
        Time::Real => (vec![0], vec![LONG]),
    };
    let about = prop_oneof![
        5 => one.prop_map(|(media, case)| About::One { media, case }),
        1 => prop::sample::select(ahead).prop_map(About::End),
        3 => (0usize..8).prop_map(|slot| About::Order { slot }),
    ];
    let odd = (prop::bool::weighted(0.85), prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let keys = prop_oneof![3 => (0usize..5).prop_map(|key| 1 << key), 2 => 1..=ALL];
    (about, keys, odd, prop::sample::select(life)).prop_map(|(about, keys, odd, life)| {
        let (entitled, twice, behind) = odd;
        Instruct { about, keys, entitled, twice, behind, life }
    })
}

pub fn a_call(time: Time) -> impl Strategy<Value = Call> {
    let slot = || 0usize..8;
    prop_oneof![
        10 => an_instruction(time).prop_map(Call::Instruct),
        3 => (slot(), any::<bool>()).prop_map(|(slot, left)| Call::Again { slot, left }),
        10 => (slot(), 0usize..6, prop::bool::weighted(0.85), prop::bool::weighted(0.1))
            .prop_map(|(slot, key, entitled, hides)| Call::Approve { slot, key, entitled, hides }),
        4 => (slot(), 0usize..5, prop::bool::weighted(0.7))
            .prop_map(|(slot, key, own)| Call::Withdraw { slot, key, own }),
        1 => slot().prop_map(|slot| Call::Contest { slot }),
        2 => a_next(time).prop_map(Call::Rotate),
        4 => Just(Call::Lease),
        2 => Just(Call::Report),
    ]
}

/// Where the gateway is in the test's own process, and time stands still until it is moved.
#[derive(Debug, Clone)]
pub enum Op {
    Call(Call),
    Wait(i64),
    /// Time passes until the order's end, to the second.
    Expire {
        slot: usize,
    },
    /// The gateway's housekeeping.
    Sweep,
    /// Nothing is closed: what is not on the disk is gone.
    Crash,
}

pub fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        33 => a_call(Time::Own).prop_map(Op::Call),
        3 => (1i64..50).prop_map(Op::Wait),
        1 => (0usize..8).prop_map(|slot| Op::Expire { slot }),
        1 => Just(Op::Sweep),
        2 => Just(Op::Crash),
    ]
}

/// A gateway is killed while it answers.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// In hundredths of what a call takes.
    pub after: u32,
    /// The call is repeated at the other gateway, where there is one, before this one is back.
    pub elsewhere: bool,
}

/// A call to one of the gateways that are processes of their own.
#[derive(Debug, Clone)]
pub struct Sent {
    pub call: Call,
    pub to: usize,
    pub cut: Option<Cut>,
}

pub fn a_sent() -> impl Strategy<Value = Sent> {
    let cut = (0u32..110, any::<bool>()).prop_map(|(after, elsewhere)| Cut { after, elsewhere });
    let cut = Union::new_weighted(vec![(3, Just(None).boxed()), (1, cut.prop_map(Some).boxed())]);
    (a_call(Time::Real), 0usize..2, cut).prop_map(|(call, to, cut)| Sent { call, to, cut })
}
