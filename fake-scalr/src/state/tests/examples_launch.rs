//! Calls 5 to 8 and 10: doors that are shut, launches that fail, one start.

use expect_test::expect;

use super::check;

#[test]
fn a_release_shuts_the_door() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 worker w t1 1
         3 release a t1 1
         3 release a t1 1
         4 start w t1 1
         5 acquire a
         6 release a t1 1
         6 release a t1 2
         7 worker x t1 3
         7 start x t1 3
         8 release a t1 3
         9 lease x
         10 release a t1 3
         10 failed a t1 3",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 worker w t1 1 → 201
            3 release a t1 1 → done
            3 release a t1 1 → done
            4 start w t1 1 → 410 fence-stale
            5 acquire a → t1@3
            6 release a t1 1 → done
            6 release a t1 2 → 410 fence-stale
            7 worker x t1 3 → 201
            7 start x t1 3 → started plan with configuration-version
            8 release a t1 3 → 409 claimed
            9 lease x → renewed
            10 release a t1 3 → 409 already-started
            10 failed a t1 3 → 409 already-started
        "#]],
    );
}

#[test]
fn only_the_holder_shuts_a_door() {
    check(
        "0 register a
         0 register b
         0 run
         1 acquire a
         2 release b t1 1
         3 cancel r1
         4 release b t1 1
         5 release a t1 1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run → r1
            1 acquire a → t1@1
            2 release b t1 1 → 403 forbidden
            3 cancel r1 → r1
            4 release b t1 1 → done
            5 release a t1 1 → done
        "#]],
    );
}

#[test]
fn five_failed_launches_are_one_error() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 failed a t1 1
         1 failed a t1 1
         1 show r1
         2 acquire a
         2 failed a t1 3
         3 acquire a
         3 release a t1 5
         4 acquire a
         4 failed a t1 7
         5 acquire a
         6 worker w t1 9
         6 start w t1 9
         66 show r1
         66 acquire a
         67 failed a t1 11
         67 failed a t1 11
         68 show r1
         68 show t1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 failed a t1 1 → done
            1 failed a t1 1 → done
            1 show r1 → plan_queued: queued: 1 agent online, not asked for yet (attempt 1 of 5 failed: an image can't be pulled: no such image)
            2 acquire a → t1@3
            2 failed a t1 3 → done
            3 acquire a → t1@5
            3 release a t1 5 → done
            4 acquire a → t1@7
            4 failed a t1 7 → done
            5 acquire a → t1@9
            6 worker w t1 9 → 201
            6 start w t1 9 → started plan with configuration-version
            66 show r1 → plan_queued: queued: no agent of the pool is online (attempt 4 of 5 failed: worker w claimed it and did not confirm)
            66 acquire a → t1@11
            67 failed a t1 11 → done
            67 failed a t1 11 → done
            68 show r1 → errored: the plan could not be started in 5 attempts: an image can't be pulled: no such image
            68 show t1 → finished at fence 12, 0 bytes of log
        "#]],
    );
}

#[test]
fn what_would_fail_again_fails_once() {
    check(
        "0 register a
         0 run
         0 run
         1 acquire a
         1 failed a t1 1 final
         2 show r1
         2 show r2
         3 acquire a",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run → r2
            1 acquire a → t1@1
            1 failed a t1 1 final → done
            2 show r1 → errored: the plan could not be started: an image can't be pulled: no such image
            2 show r2 → plan_queued: queued: 1 agent online, not asked for yet
            3 acquire a → t2@1
        "#]],
    );
}

#[test]
fn one_of_many_contenders_starts_and_only_it_hears_it_twice() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 worker v t1 1
         2 worker w t1 1
         3 start w t1 1 key=k
         4 start w t1 1 key=k
         4 start w t1 1 key=other
         4 start w t1 1
         4 start v t1 1 key=k
         5 lease w
         6 start w t1 1 key=k",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 worker v t1 1 → 201
            2 worker w t1 1 → 201
            3 start w t1 1 key=k → started plan with configuration-version
            4 start w t1 1 key=k → started plan with configuration-version
            4 start w t1 1 key=other → 409 already-started
            4 start w t1 1 → 409 already-started
            4 start v t1 1 key=k → 409 already-started
            5 lease w → renewed
            6 start w t1 1 key=k → 409 already-started
        "#]],
    );
}

#[test]
fn a_claim_without_a_key_is_told_once() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 worker w t1 1
         3 start w t1 1
         3 start w t1 1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 worker w t1 1 → 201
            3 start w t1 1 → started plan with configuration-version
            3 start w t1 1 → 409 already-started
        "#]],
    );
}

#[test]
fn it_makes_no_difference_how_late_somebody_looks() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 events a t1 1 job-created made
         100 acquire a",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 events a t1 1 job-created made → done
            100 acquire a → t1@2
        "#]],
    );
}

#[test]
fn a_proof_never_lengthens_the_wait_and_outlasts_a_late_renewal() {
    check(
        "0 register a
         0 run
         0 run of=other
         1 acquire a slots=2
         1 worker w t1 1
         1 start w t1 1
         1 worker x t2 1
         1 start x t2 1
         2 lease w
         2 lease x
         3 loss a t2 1 ended
         4 lease x
         63 show t2
         64 show t2
         1790 register a
         1790 loss a t1 1 ended
         1801 show t1
         1802 show t1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run of=other → r2
            1 acquire a slots=2 → t1@1 t2@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            1 worker x t2 1 → 201
            1 start x t2 1 → started plan with configuration-version
            2 lease w → renewed
            2 lease x → renewed
            3 loss a t2 1 ended → done
            4 lease x → renewed
            63 show t2 → started at fence 1, 0 bytes of log
            64 show t2 → lost at fence 1, 0 bytes of log
            1790 register a → 200
            1790 loss a t1 1 ended → done
            1801 show t1 → unreachable at fence 1, 0 bytes of log
            1802 show t1 → lost at fence 1, 0 bytes of log
        "#]],
    );
}

#[test]
fn a_lapsed_task_may_still_be_started_under_its_fence() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 worker w t1 1
         70 start w t1 2
         70 start w t1 1
         71 lease w",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 worker w t1 1 → 201
            70 start w t1 2 → 422 invalid
            70 start w t1 1 → started plan with configuration-version
            71 lease w → renewed
        "#]],
    );
}

#[test]
fn a_claim_that_is_not_confirmed_goes_back_with_a_higher_fence() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 worker w t1 1
         2 start w t1 1
         61 show r1
         62 lease w
         62 show t1
         62 log w 0 1
         62 finish w succeeded
         62 state w
         63 acquire a
         63 show r1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 worker w t1 1 → 201
            2 start w t1 1 → started plan with configuration-version
            61 show r1 → plan_queued: claimed by worker w, which has not confirmed it yet
            62 lease w → 410 claim-expired
            62 show t1 → queued at fence 2, 0 bytes of log
            62 log w 0 1 → 410 claim-expired
            62 finish w succeeded → 410 claim-expired
            62 state w → 401 invalid-token
            63 acquire a → t1@3
            63 show r1 → plan_queued: at agent a, which has not launched it yet (attempt 1 of 5 failed: worker w claimed it and did not confirm)
        "#]],
    );
}

#[test]
fn events_explain_the_wait() {
    check(
        "0 run
         0 show r1
         1 register a
         1 show r1
         2 beat a slots=1
         2 show r1
         2 beat a draining
         2 show r1
         3 register a as=a
         3 acquire a
         3 show r1
         4 events a t1 1 held waits for a node of pool blue
         4 show r1
         5 events a t1 2 held from the future
         5 events a t1 1 pulling pulls the runner's image
         5 show r1
         6 worker w t1 1
         6 start w t1 1
         6 show r1
         7 lease w
         7 show r1",
        expect![[r#"
            0 run → r1
            0 show r1 → plan_queued: queued: no agent of the pool is online
            1 register a → 201
            1 show r1 → plan_queued: queued: 1 agent online, not asked for yet
            2 beat a slots=1 → wanted 0
            2 show r1 → plan_queued: queued: 1 agent online, not asked for yet
            2 beat a draining → wanted 0
            2 show r1 → plan_queued: queued: 1 agent online, none takes more work
            3 register a as=a → 200
            3 acquire a → t1@1
            3 show r1 → plan_queued: at agent a, which has not launched it yet
            4 events a t1 1 held waits for a node of pool blue → done
            4 show r1 → plan_queued: at agent a: waits for a node of pool blue
            5 events a t1 2 held from the future → done
            5 events a t1 1 pulling pulls the runner's image → done
            5 show r1 → plan_queued: at agent a: pulls the runner's image
            6 worker w t1 1 → 201
            6 start w t1 1 → started plan with configuration-version
            6 show r1 → plan_queued: claimed by worker w, which has not confirmed it yet
            7 lease w → renewed
            7 show r1 → planning
        "#]],
    );
}

#[test]
fn a_lost_workers_reason_is_kept_and_its_proof_shortens_the_wait() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         2 loss a t1 1
         2 start w t1 1
         2 loss a t1 1
         3 lease w
         4 loss a t1 2
         5 loss a t1 1
         6 loss a t1 1 ended
         65 show t1
         66 tick
         66 show t1
         66 show r1
         67 loss a t1 1",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            2 loss a t1 1 → 409 not-started
            2 start w t1 1 → started plan with configuration-version
            2 loss a t1 1 → 409 not-started
            3 lease w → renewed
            4 loss a t1 2 → 409 not-started
            5 loss a t1 1 → done
            6 loss a t1 1 ended → done
            65 show t1 → unreachable at fence 1, 0 bytes of log
            66 tick → done
            66 show t1 → lost at fence 1, 0 bytes of log
            66 show r1 → errored: the plan was lost: worker w held it and was last seen at 2026-11-22T00:00:03Z; a container was killed for its memory (container runner, exit code 137)
            67 loss a t1 1 → 409 finished
        "#]],
    );
}

#[test]
fn after_a_restart_everything_has_its_full_time_again() {
    check(
        "0 register a
         0 run
         0 run of=other
         0 run dry
         1 acquire a slots=3
         2 worker w t2 1
         2 start w t2 1
         2 worker x t3 1
         2 start x t3 1
         2 lease x
         50 restart
         109 tick
         109 show t1
         109 show t2
         109 show t3
         110 tick
         110 show t1
         110 show t2
         110 show t3
         1849 tick
         1849 show t3
         1850 tick
         1850 show t3",
        expect![[r#"
            0 register a → 201
            0 run → r1
            0 run of=other → r2
            0 run dry → r3
            1 acquire a slots=3 → t1@1 t2@1 t3@1
            2 worker w t2 1 → 201
            2 start w t2 1 → started plan with configuration-version
            2 worker x t3 1 → 201
            2 start x t3 1 → started plan with configuration-version
            2 lease x → renewed
            50 restart → done
            109 tick → done
            109 show t1 → leased at fence 1, 0 bytes of log
            109 show t2 → claimed at fence 1, 0 bytes of log
            109 show t3 → started at fence 1, 0 bytes of log
            110 tick → done
            110 show t1 → queued at fence 1, 0 bytes of log
            110 show t2 → queued at fence 2, 0 bytes of log
            110 show t3 → unreachable at fence 1, 0 bytes of log
            1849 tick → done
            1849 show t3 → unreachable at fence 1, 0 bytes of log
            1850 tick → done
            1850 show t3 → lost at fence 1, 0 bytes of log
        "#]],
    );
}
