//! Calls 1 to 4 and 9: who is there, what they hear of their tasks, who gets work.

use expect_test::expect;

use super::{check, desk::Desk};

#[test]
fn the_same_instance_takes_over_and_another_waits_until_the_name_is_free() {
    check(
        "0 register a
         1 beat a
         2 register a as=again
         3 beat a
         3 beat again
         4 register a instance=other
         34 show agents
         34 register a instance=other
         35 beat again
         36 leave a
         37 beat a",
        expect![[r#"
            0 register a → 201
            1 beat a → wanted 0
            2 register a as=again → 200
            3 beat a → 410 session-expired
            3 beat again → wanted 0
            4 register a instance=other → 409 name-in-use
            34 show agents → a offline
            34 register a instance=other → 201
            35 beat again → 410 session-expired
            36 leave a → done
            37 beat a → 410 session-expired
        "#]],
    );
}

#[test]
fn a_key_gives_the_first_answer_again_for_ten_minutes() {
    check(
        "0 register a key=k
         1 register a key=k
         2 register a key=k instance=other
         3 beat a
         601 beat a
         602 register a key=k
         603 run key=r
         604 run key=r
         605 run dry key=r
         606 acquire a key=q
         607 acquire a key=q",
        expect![[r#"
            0 register a key=k → 201
            1 register a key=k → 201
            2 register a key=k instance=other → 422 invalid
            3 beat a → wanted 0
            601 beat a → wanted 0
            602 register a key=k → 200
            603 run key=r → r1
            604 run key=r → r1
            605 run dry key=r → 422 invalid
            606 acquire a key=q → t1@1
            607 acquire a key=q → t1@1
        "#]],
    );
}

#[test]
fn agents_go_offline_come_back_and_are_forgotten() {
    check(
        "0 register a
         30 show agents
         40 beat a
         40 show agents
         70 show agents
         14469 show agents
         14470 show agents
         14470 beat a",
        expect![[r#"
            0 register a → 201
            30 show agents → a offline
            40 beat a → wanted 0
            40 show agents → a idle
            70 show agents → a offline
            14469 show agents → a offline
            14470 show agents → 
            14470 beat a → 410 session-expired
        "#]],
    );
}

#[test]
fn the_quota_counts_controllers_that_are_online_and_no_workers() {
    let mut desk = Desk::new();
    for number in 1..=25 {
        assert_eq!(desk.line(&format!("0 register a{number}")), "201");
    }
    assert_eq!(desk.line("1 register a26"), "403 quota-exceeded");
    assert_eq!(desk.line("1 register a25"), "200");
    desk.line("1 run");
    assert_eq!(desk.line("1 acquire a1"), "t1@1");
    assert_eq!(desk.line("1 worker w t1 1"), "201");
    assert_eq!(desk.line("31 register a26"), "201");
}

#[test]
fn workers_exclude_nobody_and_do_only_one_thing() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 worker w t1 1
         2 worker w t1 1 instance=second as=x
         3 beat w
         3 acquire w
         3 worker w t1 1 as=y
         4 start w t1 1
         4 start y t1 1
         5 start x t1 1
         6 leave x
         6 start x t1 1
         7 worker z t9 1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 worker w t1 1 → 201
            2 worker w t1 1 instance=second as=x → 201
            3 beat w → 403 forbidden
            3 acquire w → 403 forbidden
            3 worker w t1 1 as=y → 200
            4 start w t1 1 → 410 session-expired
            4 start y t1 1 → started plan with configuration-version
            5 start x t1 1 → 409 already-started
            6 leave x → done
            6 start x t1 1 → 410 session-expired
            7 worker z t9 1 → ?
        "#]],
    );
}

#[test]
fn a_revoked_pool_token_takes_no_more_work_but_what_runs_goes_on() {
    check(
        "0 register a
         0 run
         0 run of=other
         1 acquire a
         1 acquire a
         2 worker w t1 1
         2 worker v t2 1
         3 start w t1 1
         4 lease w
         5 revoke
         6 register b
         6 acquire a
         6 start v t2 1
         6 beat a t1@1 t2@1
         7 lease w
         7 release a t2 1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run of=other → r2
            1 acquire a → t1@1
            1 acquire a → t2@1
            2 worker w t1 1 → 201
            2 worker v t2 1 → 201
            3 start w t1 1 → started plan with configuration-version
            4 lease w → renewed
            5 revoke → done
            6 register b → 401 invalid-token
            6 acquire a → 401 invalid-token
            6 start v t2 1 → 401 invalid-token
            6 beat a t1@1 t2@1 → wanted 0 t1=Started t2=Held
            7 lease w → renewed
            7 release a t2 1 → done
        "#]],
    );
}

#[test]
fn verdicts_come_in_the_protocols_order() {
    check(
        "0 register a
         0 register b
         0 run
         1 acquire a
         2 beat a t1@1 t1@0 t1@2
         2 beat b t1@1
         3 release a t1 1
         3 beat a t1@1 t1@2
         4 acquire b
         5 beat a t1@1 t1@3
         6 worker w t1 3
         6 start w t1 3
         6 beat b t1@3
         7 lease w
         7 beat a t1@3
         8 finish w failed
         8 beat b t1@3 t1@1
         9 run
         9 acquire a
         10 cancel r2
         10 messages a 0
         11 beat a t2@1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run → r1
            1 acquire a → t1@1
            2 beat a t1@1 t1@0 t1@2 → wanted 0 t1=Held t1=Stale t1=Stale
            2 beat b t1@1 → wanted 0 t1=HeldByOther
            3 release a t1 1 → done
            3 beat a t1@1 t1@2 → wanted 0 t1=Stale t1=Stale
            4 acquire b → t1@3
            5 beat a t1@1 t1@3 → wanted 0 t1=Stale t1=HeldByOther
            6 worker w t1 3 → 201
            6 start w t1 3 → started plan with configuration-version
            6 beat b t1@3 → wanted 0 t1=Claimed
            7 lease w → renewed
            7 beat a t1@3 → wanted 0 t1=Started
            8 finish w failed → 200
            8 beat b t1@3 t1@1 → wanted 0 t1=Ended t1=Stale
            9 run → r2
            9 acquire a → t2@1
            10 cancel r2 → r2
            10 messages a 0 → 4 [work, cancel t2]
            11 beat a t2@1 → wanted 0 t2=Dead
        "#]],
    );
}

#[test]
fn a_lapsed_task_keeps_its_fence_and_is_adopted_or_granted_anew() {
    check(
        "0 register a
         0 register b
         0 run
         1 acquire a
         60 show t1
         61 show t1
         61 tick
         61 show t1
         62 beat b t1@1
         62 show t1
         63 beat a t1@1
         122 acquire a
         123 beat b t1@1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run → r1
            1 acquire a → t1@1
            60 show t1 → leased at fence 1, 0 bytes of log
            61 show t1 → queued at fence 1, 0 bytes of log
            61 tick → done
            61 show t1 → queued at fence 1, 0 bytes of log
            62 beat b t1@1 → wanted 0 t1=Held
            62 show t1 → leased at fence 1, 0 bytes of log
            63 beat a t1@1 → wanted 0 t1=HeldByOther
            122 acquire a → t1@2
            123 beat b t1@1 → wanted 0 t1=Stale
        "#]],
    );
}

#[test]
fn a_lapsed_task_with_a_job_is_offered_to_adoption_first() {
    check(
        "0 register a
         0 register b
         0 run
         1 acquire a
         2 events a t1 1 job-created made
         61 acquire b
         61 show r1
         80 acquire b
         81 acquire b
         82 beat a t1@1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run → r1
            1 acquire a → t1@1
            2 events a t1 1 job-created made → done
            61 acquire b → nothing
            61 show r1 → plan_queued: queued: the agent that launched it went away, and another may take over its Job
            80 acquire b → nothing
            81 acquire b → t1@2
            82 beat a t1@1 → wanted 0 t1=Stale
        "#]],
    );
}

#[test]
fn a_deregistered_agents_leases_lapse_at_once() {
    check(
        "0 register a
         0 register b
         0 run
         0 run of=other
         1 acquire a slots=2
         2 events a t2 1 job-created made
         3 leave a
         4 acquire b slots=2
         5 beat b t2@1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run → r1
            0 run of=other → r2
            1 acquire a slots=2 → t1@1 t2@1
            2 events a t2 1 job-created made → done
            3 leave a → done
            4 acquire b slots=2 → t1@2
            5 beat b t2@1 → wanted 0 t2=Held
        "#]],
    );
}
