//! A gateway whose database was edited by hand gets nothing from the agent, and the refusal
//! reaches the trail.

use mandate::cli::sample_store::survey;
use mandate::domain::{Act, Identifier};
use mandate::grpc::v1;
use sqlx::Connection;

use crate::harness::{Process, World};

const USER: &str = "u_8839201";

async fn edit(world: &World, sql: &[&str]) {
    let path = world.path().join("data/gateway.sqlite");
    let mut conn =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut conn).await.expect("set");
    for statement in sql {
        let done = sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned()))
            .execute(&mut conn)
            .await
            .expect("edited");
        assert!(done.rows_affected() > 0, "nothing was edited: {statement}");
    }
    conn.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_database_moves_no_row_of_the_store() {
    let mut world = World::without_agent(|_| {}).await;
    let leting = world.enterprise("leting").await;
    let store = world.path().join("store/rtc.sqlite");
    let before = survey(&store).await.expect("counted");

    // One order, properly admitted, for a user of leting's own.
    let subject = vec![Identifier::user(&leting.app, USER)];
    let order = leting.order(Act::Preview, subject, None).expect("an order");
    let answer = leting.submit(&leting.sign(&order).expect("signs").to_wire()).await.expect("admitted");
    let instruction = answer.instruction.expect("shown");
    let execution = instruction.executions[0].clone();
    world.gateway.take().expect("it runs").stop();

    // The app is moved to another controller, the act is changed, the digest forged.
    edit(
        &world,
        &[
            "UPDATE apps SET controller_id = 'xingyu' WHERE id = 'leting-fm'",
            "UPDATE instructions SET act = 'erase', digest = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
            "UPDATE executions SET store_id = 'accounts'",
        ],
    )
    .await;
    world.gateway = Some(Process::serve(world.path()));
    world.agent = Some(Process::agent(world.path()));
    let leting = world.enterprise("leting").await;
    let ended = leting.follow(&execution).await.expect("it ends");
    assert_eq!(ended.state(), v1::ExecutionState::Refused, "{}", ended.reason);
    assert!(!ended.reason.is_empty());
    assert_eq!(before, survey(&store).await.expect("counted"), "the store was touched");
}
