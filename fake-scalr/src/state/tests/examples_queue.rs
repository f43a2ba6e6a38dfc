//! Call 4: who gets which work, and who would rather have it.

use expect_test::expect;

use super::{check, desk::Desk};

#[test]
fn wanted_is_the_free_slots_of_those_who_wait_divided_among_the_holders() {
    check(
        "0 register a
         0 register b
         0 register c
         0 run dry
         0 run dry
         0 run dry
         0 run dry
         1 acquire a ahead=1
         1 acquire b ahead=1
         2 beat a t1@1 t2@1
         3 acquire c slots=3 wait=30000
         4 beat a t1@1 t2@1
         4 beat b t3@1 t4@1
         5 events a t1 1 job-created made
         6 beat a t1@1 t2@1
         7 release a t2 1 rebalance
         8 acquire a wait=1000
         9 acquire c slots=3 wait=24000
         10 beat b t3@1 t4@1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 register c → 201
            0 run dry → r1
            0 run dry → r2
            0 run dry → r3
            0 run dry → r4
            1 acquire a ahead=1 → t1@1 t2@1
            1 acquire b ahead=1 → t3@1 t4@1
            2 beat a t1@1 t2@1 → wanted 0 t1=Held t2=Held
            3 acquire c slots=3 wait=30000 → nothing
            4 beat a t1@1 t2@1 → wanted 2 t1=Held t2=Held
            4 beat b t3@1 t4@1 → wanted 1 t3=Held t4=Held
            5 events a t1 1 job-created made → done
            6 beat a t1@1 t2@1 → wanted 1 t1=Held t2=Held
            7 release a t2 1 rebalance → done
            8 acquire a wait=1000 → nothing
            9 acquire c slots=3 wait=24000 → t2@3
            10 beat b t3@1 t4@1 → wanted 0 t3=Held t4=Held
        "#]],
    );
}

#[test]
fn what_a_waiting_acquire_counts_for_is_what_its_agent_said_last() {
    check(
        "0 register a
         0 register b
         0 run dry
         0 run dry
         0 run dry
         1 acquire a ahead=2
         2 acquire b slots=2 wait=30000
         3 beat a t1@1 t2@1 t3@1
         4 beat b slots=0
         5 beat a t1@1 t2@1 t3@1
         6 beat b slots=1
         7 beat a t1@1 t2@1 t3@1
         8 beat b slots=5
         9 beat a t1@1 t2@1 t3@1
         10 beat b slots=0
         11 release a t1 1 rebalance
         12 acquire b slots=2 wait=20000
         13 beat b slots=1
         14 release a t2 1 rebalance
         15 acquire b slots=2 wait=17000",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run dry → r1
            0 run dry → r2
            0 run dry → r3
            1 acquire a ahead=2 → t1@1 t2@1 t3@1
            2 acquire b slots=2 wait=30000 → nothing
            3 beat a t1@1 t2@1 t3@1 → wanted 2 t1=Held t2=Held t3=Held
            4 beat b slots=0 → wanted 0
            5 beat a t1@1 t2@1 t3@1 → wanted 0 t1=Held t2=Held t3=Held
            6 beat b slots=1 → wanted 0
            7 beat a t1@1 t2@1 t3@1 → wanted 1 t1=Held t2=Held t3=Held
            8 beat b slots=5 → wanted 0
            9 beat a t1@1 t2@1 t3@1 → wanted 2 t1=Held t2=Held t3=Held
            10 beat b slots=0 → wanted 0
            11 release a t1 1 rebalance → done
            12 acquire b slots=2 wait=20000 → nothing
            13 beat b slots=1 → wanted 0
            14 release a t2 1 rebalance → done
            15 acquire b slots=2 wait=17000 → t1@3
        "#]],
    );
}

#[test]
fn look_ahead_comes_after_everybodys_free_slots() {
    check(
        "0 register a
         0 register b
         1 acquire b slots=1 wait=30000
         2 run dry
         2 acquire a slots=0 ahead=5
         2 acquire b slots=1 wait=29000
         3 acquire b slots=1 wait=30000
         4 run dry
         4 run dry
         4 acquire a slots=0 ahead=5
         4 acquire b slots=1 wait=29000",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            1 acquire b slots=1 wait=30000 → nothing
            2 run dry → r1
            2 acquire a slots=0 ahead=5 → nothing
            2 acquire b slots=1 wait=29000 → t1@1
            3 acquire b slots=1 wait=30000 → nothing
            4 run dry → r2
            4 run dry → r3
            4 acquire a slots=0 ahead=5 → t3@1
            4 acquire b slots=1 wait=29000 → t2@1
        "#]],
    );
}

#[test]
fn what_was_given_back_for_a_free_slot_goes_to_nobodys_look_ahead() {
    check(
        "0 register a
         0 register b
         0 register c
         1 run dry
         1 acquire a slots=0 ahead=5
         2 release a t1 1 rebalance
         3 acquire b slots=0 ahead=5
         4 acquire c slots=1
         5 release c t1 3 rebalance
         36 acquire b slots=0 ahead=5",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 register c → 201
            1 run dry → r1
            1 acquire a slots=0 ahead=5 → t1@1
            2 release a t1 1 rebalance → done
            3 acquire b slots=0 ahead=5 → nothing
            4 acquire c slots=1 → t1@3
            5 release c t1 3 rebalance → done
            36 acquire b slots=0 ahead=5 → t1@5
        "#]],
    );
}

#[test]
fn who_waited_too_long_wants_nothing() {
    check(
        "0 register a
         0 register b
         0 run
         1 acquire a
         1 acquire b wait=20000
         20 beat a t1@1
         22 beat a t1@1
         22 acquire b wait=40000
         23 acquire b wait=10000
         23 beat b draining
         23 acquire b wait=10000
         24 beat a t1@1",
        expect![[r#"
            0 register a → 201
            0 register b → 201
            0 run → r1
            1 acquire a → t1@1
            1 acquire b wait=20000 → nothing
            20 beat a t1@1 → wanted 1 t1=Held
            22 beat a t1@1 → wanted 0 t1=Held
            22 acquire b wait=40000 → 422 invalid
            23 acquire b wait=10000 → nothing
            23 beat b draining → wanted 0
            23 acquire b wait=10000 → 409 draining
            24 beat a t1@1 → wanted 0 t1=Held
        "#]],
    );
}

#[test]
fn what_was_given_back_for_balance_comes_back_after_half_a_minute() {
    check(
        "0 register a
         0 run
         1 acquire a
         2 release a t1 1 rebalance
         3 acquire a
         31.999 acquire a
         32 acquire a",
        expect![[r#"
            0 register a → 201
            0 run → r1
            1 acquire a → t1@1
            2 release a t1 1 rebalance → done
            3 acquire a → nothing
            31.999 acquire a → nothing
            32 acquire a → t1@3
        "#]],
    );
}

#[test]
fn the_queue_goes_by_priority_then_age_and_by_what_an_agent_can_do() {
    check(
        "0 register a
         0 run dry
         1 run dry priority=5
         2 run dry
         3 run auto
         4 acquire a slots=3 plans-only
         5 acquire a
         6 worker w t4 1
         6 start w t4 1
         6 lease w
         7 finish w succeeded
         8 acquire a plans-only
         9 acquire a",
        expect![[r#"
            0 register a → 201
            0 run dry → r1
            1 run dry priority=5 → r2
            2 run dry → r3
            3 run auto → r4
            4 acquire a slots=3 plans-only → t2@1 t1@1 t3@1
            5 acquire a → t4@1
            6 worker w t4 1 → 201
            6 start w t4 1 → started plan with configuration-version
            6 lease w → renewed
            7 finish w succeeded → 200
            8 acquire a plans-only → nothing
            9 acquire a → t5@1
        "#]],
    );
}

#[test]
fn who_was_queued_first_has_waited_longest_also_where_the_server_was_away() {
    let mut desk = Desk::new();
    for line in ["0 register a", "0 run dry", "0 away 600", "60 run dry"] {
        desk.line(line);
    }
    desk.line("70 beat a");
    assert_eq!(desk.waits("a"), [670_000, 10_000]);
}
