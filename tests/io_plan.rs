//! For `make faults`: every call to the disk of a commit, a checkpoint and a start fails once, with each error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::io_faults::{ERRORS, Fault, PHASES, Phase, Scene, Sum};
use crate::io_shim::{Call, SYNC, WRITE};
use crate::load::TimeBox;

/// What is still to be made, and what came of it.
struct Plan {
    left: std::vec::IntoIter<Fault>,
    time: TimeBox,
    /// By what failed: whether there was such a call.
    tried: Vec<(Fault, bool)>,
    sum: Sum,
}

/// First one of each call on each file in each phase, and all that is written; then the others, each call in
/// turn.
fn plan(calls: &[(Phase, BTreeMap<Call, u64>)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (phase, calls) in calls {
        for (call, count) in calls {
            for nth in 1..=*count {
                faults.extend(ERRORS.map(|(_, error)| Fault {
                    phase: *phase,
                    call: call.clone(),
                    nth,
                    error,
                }));
            }
        }
    }
    faults.sort_by_key(|fault| {
        let first = fault.nth == 1 && (fault.error == libc::EIO) == (fault.call.kind != WRITE);
        (!first, !fault.must_be_made(), fault.nth)
    });
    faults
}

/// Makes faults of the plan, in worlds of its own, until none is left or the time is over.
async fn make_faults(plan: Arc<Mutex<Plan>>) {
    // What is verified at each check and at each start grows.
    const IN_A_WORLD: usize = 80;
    const CHECKED_AFTER: usize = 8;
    let next = || {
        let mut plan = plan.lock().expect("no worker panicked");
        if plan.time.has_time(CHECKED_AFTER as u32 / 2) { plan.left.next() } else { None }
    };
    let mut fault = next();
    while fault.is_some() {
        let mut scene = Scene::new().await;
        for n in 1..=IN_A_WORLD {
            let Some(now) = fault else { break };
            let there_was = scene.fail(&now).await;
            plan.lock().expect("no worker panicked").tried.push((now, there_was));
            if n % CHECKED_AFTER == 0 {
                scene.check().await;
            }
            fault = next();
        }
        scene.check().await;
        plan.lock().expect("no worker panicked").sum.add(scene.sum());
    }
}

/// For `make faults`: every call, as far as there is time; every write and every sync in any case.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as FAULT_SECONDS says: make faults"]
async fn for_make_faults_each_call_to_the_disk_fails_once() {
    // A gateway that stops or starts leaves a processor idle.
    const WORKERS: usize = 3;
    let mut time = TimeBox::of(5);
    let mut scene = Scene::new().await;
    let mut calls = Vec::new();
    for phase in PHASES {
        calls.push((phase, scene.calls(phase).await));
    }
    drop(scene);
    let faults = plan(&calls);
    let all = faults.len();
    time.begin();
    let plan = Plan { left: faults.into_iter(), time, tried: Vec::new(), sum: Sum::default() };
    let plan = Arc::new(Mutex::new(plan));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(make_faults(Arc::clone(&plan)));
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("a disk that failed lost nothing");
    }
    let plan = plan.lock().expect("no worker panicked");
    let made = plan.tried.iter().filter(|(_, there_was)| *there_was).count();
    plan.sum.report(&format!("a disk that fails: {made} of {all} faults"));
    println!("{:>8}  were asked for, but this time there were fewer such calls", plan.tried.len() - made);
    print_kinds(&calls, &plan.tried);
    let left_out = plan.left.as_slice().iter().filter(|fault| fault.must_be_made()).count();
    assert_eq!(left_out, 0, "writes and syncs that never failed: give it more FAULT_SECONDS");
    for (phase, calls) in calls.iter().filter(|(phase, _)| *phase != Phase::Start) {
        for call in calls.keys().filter(|call| [WRITE, SYNC].contains(&call.kind)) {
            let made = |tried: &(Fault, bool)| tried.1 && tried.0.phase == *phase && tried.0.call == *call;
            assert!(plan.tried.iter().any(made), "{call:?} never failed in a {phase:?}");
        }
    }
}

/// One line for each call on each file in each phase: how many faults of how many.
fn print_kinds(calls: &[(Phase, BTreeMap<Call, u64>)], tried: &[(Fault, bool)]) {
    for (phase, calls) in calls {
        for (call, count) in calls {
            let is = |fault: &Fault| fault.phase == *phase && fault.call == *call;
            let made = tried.iter().filter(|(fault, there_was)| *there_was && is(fault)).count();
            let all = count * ERRORS.len() as u64;
            println!("{made:>8}  of {all} faults of {} on {} in a {phase:?}", call.kind_name(), call.file);
        }
    }
}
