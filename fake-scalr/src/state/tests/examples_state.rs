//! Call 16: the state of a workspace and its lock.

use expect_test::expect;

use super::check;

#[test]
fn a_lock_is_held_by_one_id_until_it_is_given_back() {
    check(
        "0 state admin
         1 lock admin id=A
         1 lock admin id=A
         2 lock admin id=B
         2 unlock admin id=B
         3 unlock admin id=A
         3 unlock admin id=A
         4 lock admin id=A
         4 unlock admin id=B
         5 lock admin id=B
         6 unlock admin id=A
         7 unlock admin
         7 unlock admin",
        expect![[r#"
            0 state admin → no state
            1 lock admin id=A → done
            1 lock admin id=A → done
            2 lock admin id=B → 423 held by A (admin)
            2 unlock admin id=B → 423 held by A (admin)
            3 unlock admin id=A → unlocked A of None
            3 unlock admin id=A → was free
            4 lock admin id=A → 409 conflict
            4 unlock admin id=B → 409 conflict
            5 lock admin id=B → done
            6 unlock admin id=A → 423 held by B (admin)
            7 unlock admin → unlocked B of None
            7 unlock admin → was free
        "#]],
    );
}

#[test]
fn a_state_is_written_by_the_holder_or_by_the_last_one() {
    check(
        "0 lock admin id=A
         1 post admin 1 one id=A
         1 post admin 1 one id=A
         2 post admin 2 two id=B
         2 post admin 2 two
         3 unlock admin id=A
         4 post admin 2 two id=A
         5 post admin 3 three id=B
         6 post admin 2 other id=A
         6 post admin 1 one id=A
         6 post admin 3 three id=A lineage=elsewhere
         7 lock admin id=B
         8 post admin 3 three id=A
         9 unlock admin id=B
         10 post admin 3 three id=A
         11 post admin 3 three id=B
         12 post admin 4 four
         13 post admin 5 five id=B
         13 unlock admin id=B
         14 state admin",
        expect![[r#"
            0 lock admin id=A → done
            1 post admin 1 one id=A → stored
            1 post admin 1 one id=A → stored before
            2 post admin 2 two id=B → 423 held by A (admin)
            2 post admin 2 two → 423 held by A (admin)
            3 unlock admin id=A → unlocked A of None
            4 post admin 2 two id=A → stored
            5 post admin 3 three id=B → 409 conflict
            6 post admin 2 other id=A → 409 conflict
            6 post admin 1 one id=A → 409 conflict
            6 post admin 3 three id=A lineage=elsewhere → 409 conflict
            7 lock admin id=B → done
            8 post admin 3 three id=A → 423 held by B (admin)
            9 unlock admin id=B → unlocked B of None
            10 post admin 3 three id=A → 409 conflict
            11 post admin 3 three id=B → stored
            12 post admin 4 four → stored
            13 post admin 5 five id=B → 409 conflict
            13 unlock admin id=B → was free
            14 state admin → serial 4
        "#]],
    );
}

#[test]
fn a_run_token_is_good_for_its_own_workspace_until_a_day_after_its_task() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         1 state w
         2 lease w
         2 state w
         2 state w of=other
         3 lock w id=A
         4 finish w failed
         5 post w 1 one id=A
         6 unlock w id=A
         86403 state w
         86404 state w",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            1 state w → 401 invalid-token
            2 lease w → renewed
            2 state w → no state
            2 state w of=other → 403 forbidden
            3 lock w id=A → done
            4 finish w failed → 200
            5 post w 1 one id=A → stored
            6 unlock w id=A → unlocked A of Some("r1")
            86403 state w → serial 1
            86404 state w → 401 invalid-token
        "#]],
    );
}

#[test]
fn a_lost_holder_is_named_and_only_a_person_unlocks() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 lock w id=A
         1802 show r1
         1803 lock admin id=B
         1804 unlock admin
         1805 post w 1 one id=A
         1806 lock admin id=B
         1807 post w 2 two id=A",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 lock w id=A → done
            1802 show r1 → errored: the plan was lost: worker w held it and was last seen at 2026-11-22T00:00:02Z; it held the lock of the state
            1803 lock admin id=B → 423 held by A (w)
            1804 unlock admin → unlocked A of Some("r1")
            1805 post w 1 one id=A → stored
            1806 lock admin id=B → done
            1807 post w 2 two id=A → 423 held by B (admin)
        "#]],
    );
}

#[test]
fn what_pushes_a_saved_state_takes_over_the_lock_of_its_own_task_and_no_other() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 lock w id=A
         4 lock w id=B
         1802 show r1
         1803 lock admin id=C operation=state-push
         1804 lock w id=D operation=state-push
         1805 post w 1 one id=A
         1806 post w 1 one id=D
         1807 unlock w id=D
         1808 lock admin id=E
         1809 lock w id=F operation=state-push",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 lock w id=A → done
            4 lock w id=B → 423 held by A (w)
            1802 show r1 → errored: the plan was lost: worker w held it and was last seen at 2026-11-22T00:00:02Z; it held the lock of the state
            1803 lock admin id=C operation=state-push → 423 held by A (w)
            1804 lock w id=D operation=state-push → done
            1805 post w 1 one id=A → 423 held by D (w)
            1806 post w 1 one id=D → stored
            1807 unlock w id=D → unlocked D of Some("r1")
            1808 lock admin id=E → done
            1809 lock w id=F operation=state-push → 423 held by E (admin)
        "#]],
    );
}

#[test]
fn a_lock_is_spared_until_the_task_of_its_holder_is_over() {
    check(
        "0 register a
         0 run
         1 acquire a
         1 worker w t1 1
         1 start w t1 1
         2 lease w
         3 lock w id=A
         4 take-lock spare
         5 take-lock
         5 take-lock spare
         6 lock w id=B
         100 take-lock spare
         101 finish w failed
         102 take-lock spare
         103 lock admin id=C
         104 take-lock spare",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            1 worker w t1 1 → 201
            1 start w t1 1 → started plan with configuration-version
            2 lease w → renewed
            3 lock w id=A → done
            4 take-lock spare → 409 conflict
            5 take-lock → unlocked A of Some("r1")
            5 take-lock spare → was free
            6 lock w id=B → done
            100 take-lock spare → 409 conflict
            101 finish w failed → 200
            102 take-lock spare → unlocked B of Some("r1")
            103 lock admin id=C → done
            104 take-lock spare → unlocked C of None
        "#]],
    );
}
