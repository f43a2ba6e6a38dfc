//! Calls 11 to 15: renewals, signals, the console, blobs, the outcome, and what comes too late.

use expect_test::expect;

use super::check;

#[test]
fn the_first_lease_confirms_and_a_renewal_brings_back() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         1 show r1
         1 log w 0 5
         1 finish w succeeded
         2 lease w fence=2
         2 lease w
         2 show r1
         61 show t1
         62 tick
         62 show t1
         62 show r1
         63 lease w
         63 show t1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            1 show r1 → plan_queued: claimed by worker w, which has not confirmed it yet
            1 log w 0 5 → 409 not-started
            1 finish w succeeded → 409 not-started
            2 lease w fence=2 → 410 fence-stale
            2 lease w → renewed
            2 show r1 → planning
            61 show t1 → started at fence 1, 0 bytes of log
            62 tick → done
            62 show t1 → unreachable at fence 1, 0 bytes of log
            62 show r1 → planning: unreachable: nothing was heard of worker w since 2026-11-22T00:00:02Z
            63 lease w → renewed
            63 show t1 → started at fence 1, 0 bytes of log
        "#]],
    );
}

#[test]
fn a_lost_task_is_terminal_and_takes_what_there_is_for_a_day() {
    check(
        "0 register a
         0 run
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         2 lock w id=A
         1802 show r1
         1802 show t1
         1802 show r2
         1803 lease w
         1803 log w 0 5
         1803 put w errored-state x
         1803 post w 1 one id=A
         1803 finish w succeeded log=8
         1803 finish w succeeded log=8
         1803 finish w failed log=8
         1804 log w 5 3
         1804 log w 8 1
         1804 show r1
         1804 lock w id=B
         88201 log w 0 8
         88202 log w 8 1
         88202 put w errored-state x
         88202 put w plan-json x
         88202 finish w succeeded log=8
         88202 state w",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run → r2
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            2 lock w id=A → done
            1802 show r1 → errored: the plan was lost: worker w held it and was last seen at 2026-11-22T00:00:02Z; it held the lock of the state
            1802 show t1 → lost at fence 1, 0 bytes of log
            1802 show r2 → plan_queued: queued: no agent of the pool is online
            1803 lease w → 410 lost
            1803 log w 0 5 → 202 5 bytes
            1803 put w errored-state x → 201
            1803 post w 1 one id=A → stored
            1803 finish w succeeded log=8 → 202 late, log has 5 bytes
            1803 finish w succeeded log=8 → 202 late, log has 5 bytes
            1803 finish w failed log=8 → 409 differs
            1804 log w 5 3 → 202 8 bytes
            1804 log w 8 1 → 409 finished
            1804 show r1 → errored: the plan was lost: worker w held it and was last seen at 2026-11-22T00:00:02Z; it held the lock of the state; its worker said later: succeeded
            1804 lock w id=B → 423 held by A (w)
            88201 log w 0 8 → 202 8 bytes, again
            88202 log w 8 1 → 410 closed
            88202 put w errored-state x → 204
            88202 put w plan-json x → 410 closed
            88202 finish w succeeded log=8 → 202 late, log has 8 bytes
            88202 state w → 401 invalid-token
        "#]],
    );
}

#[test]
fn signals_are_numbered_and_repeated_in_every_renewal() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         2 signals w 0
         3 cancel r1
         3 cancel r1
         4 signals w 0
         4 signals w 1
         5 cancel r1 force
         6 signals w 1
         7 lease w
         8 finish w canceled
         8 show r1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            2 signals w 0 → 0 []
            3 cancel r1 → r1
            3 cancel r1 → r1
            4 signals w 0 → 1 [Cancel]
            4 signals w 1 → 1 []
            5 cancel r1 force → r1
            6 signals w 1 → 2 [ForceCancel]
            7 lease w → renewed, ForceCancel
            8 finish w canceled → 200
            8 show r1 → canceled
        "#]],
    );
}

#[test]
fn the_log_is_appended_by_offset_and_by_nothing_else() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 log w 0 10
         3 log w 0 10
         3 log w 4 3
         3 log w 5 10
         3 log w 11 5
         3 log w 10 0
         4 log w 10 5
         5 finish w failed log=14
         5 finish w failed log=20
         6 log w 15 6
         6 log w 15 2
         7 finish w failed log=20
         8 log w 17 3
         8 finish w failed log=20
         9 log w 17 3
         9 log w 20 1
         9 finish w succeeded log=20
         9 lease w",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 log w 0 10 → 202 10 bytes
            3 log w 0 10 → 202 10 bytes, again
            3 log w 4 3 → 202 10 bytes, again
            3 log w 5 10 → 416 10 bytes
            3 log w 11 5 → 416 10 bytes
            3 log w 10 0 → 400 malformed
            4 log w 10 5 → 202 15 bytes
            5 finish w failed log=14 → 422 invalid
            5 finish w failed log=20 → 202 log has 15 bytes
            6 log w 15 6 → 409 finished
            6 log w 15 2 → 202 17 bytes
            7 finish w failed log=20 → 202 log has 17 bytes
            8 log w 17 3 → 202 20 bytes
            8 finish w failed log=20 → 200
            9 log w 17 3 → 202 20 bytes, again
            9 log w 20 1 → 410 closed
            9 finish w succeeded log=20 → 409 differs
            9 lease w → 409 finished
        "#]],
    );
}

#[test]
fn an_incomplete_log_stays_open_for_ten_minutes() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         5 finish w failed log=20
         604 log w 0 5
         604 put w plan-json x
         605 log w 5 5
         605 log w 0 5
         605 put w plan-file x
         605 finish w failed log=20",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            5 finish w failed log=20 → 202 log has 0 bytes
            604 log w 0 5 → 202 5 bytes
            604 put w plan-json x → 201
            605 log w 5 5 → 410 closed
            605 log w 0 5 → 202 5 bytes, again
            605 put w plan-file x → 410 closed
            605 finish w failed log=20 → 200
        "#]],
    );
}

#[test]
fn blobs_are_kept_by_digest_and_an_apply_fetches_its_plans() {
    check(
        "0 register a
         0 run auto
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         1 get w configuration-version
         2 lease w
         2 get w configuration-version
         2 get w plan-file
         3 put w plan-file x
         3 put w plan-file x
         3 put w plan-file y
         3 put w configuration-version y
         3 put w lock-file l
         4 finish w succeeded
         5 acquire a
         5 worker x t2 1
         5 start x t2 1
         5 lease x
         6 get x plan-file
         6 get x lock-file
         7 put x plan-file z
         7 get w plan-file",
        expect![[r#"
            0 register a → 201
            0 run auto → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            1 get w configuration-version → 409 not-started
            2 lease w → renewed
            2 get w configuration-version → 13 bytes
            2 get w plan-file → 404 not-found
            3 put w plan-file x → 201
            3 put w plan-file x → 204
            3 put w plan-file y → 409 differs
            3 put w configuration-version y → 403 forbidden
            3 put w lock-file l → 201
            4 finish w succeeded → 200
            5 acquire a → t2@1
            5 worker x t2 1 → 201
            5 start x t2 1 → started apply with configuration-version plan-file lock-file
            5 lease x → renewed
            6 get x plan-file → 1 bytes
            6 get x lock-file → 1 bytes
            7 put x plan-file z → 201
            7 get w plan-file → 410 closed
        "#]],
    );
}

#[test]
fn a_cancel_before_the_confirm_is_terminal_at_once() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1 key=k
         2 cancel r1
         2 show r1
         3 start w t1 1 key=k
         3 lease w
         3 finish w canceled
         3 log w 0 1
         3 state w
         4 beat a t1@1
         4 release a t1 1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 key=k → started plan with configuration-version
            2 cancel r1 → r1
            2 show r1 → canceled
            3 start w t1 1 key=k → 409 canceled
            3 lease w → 409 canceled
            3 finish w canceled → 409 canceled
            3 log w 0 1 → 409 canceled
            3 state w → 401 invalid-token
            4 beat a t1@1 → wanted 0 t1=Dead
            4 release a t1 1 → done
        "#]],
    );
}
