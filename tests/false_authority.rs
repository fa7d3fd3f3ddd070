//! A gateway that lies about the authority log with the log's own keys: rolls it back, forks it, turns it round, shows
//! an old head. The genuine orders it then hands out move no row, and the agent's word reaches the trail.

use std::sync::atomic::Ordering;

use mandate::cli::demo::Enterprise;
use mandate::domain::clock::{SystemClock, SystemEntropy};
use mandate::domain::event::{Event, KeySetPublished};
use mandate::domain::{Act, Clock, Identifier};
use mandate::grpc::v1;
use mandate::trail::LeafDraft;

use crate::harness::{Process, World};
use crate::key_sets::{key_of, named, next, rotate};
use crate::liar::Liar;
use crate::taken_over_gateway::{refused, stores};

const USER: &str = "u_8839201";

/// A leaf with a key set in it, as the gateway would have written it.
fn leaf_of(world: &World, of: &Enterprise) -> Vec<u8> {
    let key_set = std::fs::read(world.path().join(format!("keys/{}/keyset.json", of.id))).expect("a key set");
    let event = Event::from(KeySetPublished {
        version: of.key_set.version,
        digest: of.key_set.digest.to_string(),
        key_set: String::from_utf8(key_set).expect("JSON"),
    });
    let draft = LeafDraft::new(event.type_name(), of.id.resource_name(), event.to_data());
    let source = &of.client.profile.audience;
    draft.seal(source, SystemClock.now(), &SystemEntropy).expect("a leaf").bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_authority_log_stops_genuine_orders_and_an_old_head_delays_them() {
    let mut world = World::new().await;
    let (xingyu, leting) = (world.enterprise("xingyu").await, world.enterprise("leting").await);
    // The agent has replicated the whole log once.
    let subject = vec![Identifier::user(&xingyu.app, USER)];
    let preview = xingyu.order(Act::Preview, subject, None).expect("an order");
    let (_, seen, _) = xingyu.carry_out(&preview).await.expect("followed");
    assert_eq!(seen[0].state(), v1::ExecutionState::Completed, "{}", seen[0].reason);
    world.agent.take().expect("it runs").stop();
    world.gateway.take().expect("it runs").stop();
    let before = stores(world.path()).await;

    let liar = Liar::open(&world).await;
    let truth = liar.truth().await;
    assert!(truth.len() > 2, "every controller's key set is in the log");
    let shorter = truth[..truth.len() - 1].to_vec();
    let mut other = shorter.clone();
    other.push(leaf_of(&world, &xingyu));
    let longer = [other.clone(), vec![truth[truth.len() - 1].clone()]].concat();
    let mut turned = truth.clone();
    turned.swap(truth.len() - 2, truth.len() - 1);
    let lies = [
        ("in another order", liar.sealed(turned, 0)),
        ("rolled back", liar.sealed(shorter, 0)),
        ("another last leaf", liar.sealed(other, 0)),
        ("another past under a new end", liar.sealed(longer, 0)),
    ];
    world.agent = Some(Process::agent(world.path()));
    for (who, lie) in lies {
        liar.tell(lie);
        let order = liar.admit(&xingyu).await;
        refused(&world, who, &liar.end(&xingyu, &order).await, "AUTHORITY_FORKED");
        assert!(before == stores(world.path()).await, "{who}: a store was touched");
    }

    // The trail's heads are signed with its key, and nothing proves that they are one history.
    liar.tell(None);
    liar.unproven.store(true, Ordering::SeqCst);
    let order = liar.admit(&xingyu).await;
    refused(&world, "unproven", &liar.end(&xingyu, &order).await, "TRAIL_FORKED");
    assert!(before == stores(world.path()).await, "a store was touched");
    liar.unproven.store(false, Ordering::SeqCst);

    // An old head may pass by itself: the order waits, and nothing is touched while it does.
    let mut waiting = Vec::new();
    for (of, seconds_from_now) in [(&xingyu, -301), (&leting, 3600)] {
        liar.tell(liar.sealed(truth.clone(), seconds_from_now));
        let order = liar.admit(of).await;
        let stale = |seen: &v1::Execution| {
            seen.state() == v1::ExecutionState::Pending && seen.reason == "AUTHORITY_STALE"
        };
        liar.until(of, &order, stale).await;
        assert!(before == stores(world.path()).await, "a store was touched under a stale head");
        waiting.push((of, order));
    }
    liar.tell(None);
    for (of, order) in waiting {
        let done = liar.end(of, &order).await;
        assert_eq!(done.state(), v1::ExecutionState::Completed, "{}", done.reason);
    }
    assert!(before != stores(world.path()).await, "the genuine orders did nothing in the end");

    world.agent.take().expect("it runs").stop();
    liar.close().await;
    world.gateway = Some(Process::serve(world.path()));
    // The lies were told to the agent alone: the trail, with the refusals and deferrals, is whole.
    world.export_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_knows_nothing_yet_takes_no_log_in_another_order() {
    let mut world = World::without_agent(|_| {}).await;
    let mut xingyu = world.enterprise("xingyu").await;
    let [root, one] = ["root", "instruction"].map(|name| key_of(world.path(), "xingyu", name));
    let set = next(&xingyu, &root, &[(&one, "privacy-office-1")]).sign(&[&root]).expect("signs");
    rotate(&xingyu, &set).await.expect("it is in force");
    xingyu.key_set = named(&set);
    world.gateway.take().expect("it runs").stop();
    let before = stores(world.path()).await;
    let liar = Liar::open(&world).await;
    let truth = liar.truth().await;
    let of_xingyu = |leaf: &Vec<u8>| String::from_utf8_lossy(leaf).contains("\"controllers/xingyu\"");
    let sets: Vec<usize> = (0..truth.len()).filter(|at| of_xingyu(&truth[*at])).collect();
    let [first, second] = sets[..] else { panic!("two key sets of xingyu's: {sets:?}") };

    let mut turned = truth.clone();
    turned.swap(first, second);
    let mut begun_late = truth.clone();
    begun_late.swap(0, 1);
    for (who, leaves) in [("the second key set first", turned), ("its opening second", begun_late)] {
        liar.tell(liar.sealed(leaves, 0));
        // Nothing of an earlier lie is kept.
        let _ = std::fs::remove_dir_all(world.path().join("agent"));
        world.agent = Some(Process::agent(world.path()));
        let order = liar.admit(&xingyu).await;
        refused(&world, who, &liar.end(&xingyu, &order).await, "AUTHORITY_FORKED");
        assert!(before == stores(world.path()).await, "{who}: a store was touched");
        world.agent.take().expect("it runs").stop();
    }
    liar.close().await;
}
