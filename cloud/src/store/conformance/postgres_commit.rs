//! What a failed commit says of whether it was made. Only PostgreSQL has somebody in between who may lose the answer.

use sea_orm::ConnectionTrait;

use super::{postgres::Database, *};

/// From now on a commit that has written a setting fails with the code that the trigger is given.
const REFUSE: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'refused at the commit' USING ERRCODE = TG_ARGV[0]; END $$";

#[tokio::test]
async fn a_commit_that_fails_without_a_word_about_itself_may_have_been_made() {
    let database = Database::create().await;
    let store = sql::SqlStore::open(&database.url, sql::Options::default())
        .await
        .expect("opens");
    let connection = database.connect().await;
    connection.execute_unprepared(REFUSE).await.expect("a function");
    // A pooler that lost its server, servers that go, a rollback that may be none, a disk; and what is wrong with the
    // transaction itself.
    let codes = [
        ("08P01", true),
        ("57P01", true),
        ("40003", true),
        ("58030", true),
        ("23514", false),
        ("22003", false),
    ];
    for (code, may_be_done) in codes {
        let trigger = format!(
            "CREATE CONSTRAINT TRIGGER refusal AFTER INSERT ON setting DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION refuse('{code}')"
        );
        connection.execute_unprepared(&trigger).await.expect("a trigger");
        let error = store.setting_init(code, b"value").await.expect_err("it is refused");
        assert_eq!(error.may_be_done(), may_be_done, "{code}: {error}");
        let removed = connection.execute_unprepared("DROP TRIGGER refusal ON setting").await;
        removed.expect("no trigger");
    }
    database.remove().await;
}
