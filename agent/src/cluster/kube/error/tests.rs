//! Refusals as API servers word them.

use expect_test::{Expect, expect};

use super::*;

/// What each kind of call makes of one answer.
#[track_caller]
fn check(code: u16, retry_after: Option<&str>, body: &str, expected: &Expect) {
    let said = || CallError::Said(Refusal::read(code, retry_after, body.as_bytes()));
    let text = format!(
        "create: {:?}\nread:   {:?}\ndelete: {:?}",
        of_create(said(), true),
        of_read(said()),
        of_delete(said())
    );
    expected.assert_eq(&text);
}

fn status(reason: &str, message: &str) -> String {
    serde_json::json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message})
        .to_string()
}

#[test]
fn a_quota_is_waited_for() {
    let message = "jobs.batch \"a\" is forbidden: exceeded quota: runs, requested: count/jobs.batch=1, \
                   used: count/jobs.batch=5, limited: count/jobs.batch=5";
    check(
        403,
        None,
        &status("Forbidden", message),
        &expect![[r#"
        create: QuotaExceeded { detail: "jobs.batch \"a\" is forbidden: exceeded quota: runs, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5" }
        read:   Unreachable { detail: "403 jobs.batch \"a\" is forbidden: exceeded quota: runs, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5" }
        delete: Err(Unreachable { detail: "403 jobs.batch \"a\" is forbidden: exceeded quota: runs, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5" })"#]],
    );
}

#[test]
fn a_right_that_is_missing_is_waited_for_and_a_policy_that_says_no_is_not() {
    let message = "jobs.batch is forbidden: User \"system:serviceaccount:runs:agent\" cannot create resource \
                   \"jobs\" in API group \"batch\" in the namespace \"runs\"";
    check(
        403,
        None,
        &status("Forbidden", message),
        &expect![[r#"
        create: NotAllowed { detail: "jobs.batch is forbidden: User \"system:serviceaccount:runs:agent\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"runs\"" }
        read:   Unreachable { detail: "403 jobs.batch is forbidden: User \"system:serviceaccount:runs:agent\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"runs\"" }
        delete: Err(Unreachable { detail: "403 jobs.batch is forbidden: User \"system:serviceaccount:runs:agent\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"runs\"" })"#]],
    );
    let message =
        "admission webhook \"policy.example.com\" denied the request: images come from our registry";
    check(
        403,
        None,
        &status("Forbidden", message),
        &expect![[r#"
        create: Refused { detail: "admission webhook \"policy.example.com\" denied the request: images come from our registry" }
        read:   Unreachable { detail: "403 admission webhook \"policy.example.com\" denied the request: images come from our registry" }
        delete: Err(Unreachable { detail: "403 admission webhook \"policy.example.com\" denied the request: images come from our registry" })"#]],
    );
    check(
        401,
        None,
        &status("Unauthorized", "Unauthorized"),
        &expect![[r#"
        create: NotAllowed { detail: "Unauthorized" }
        read:   Unreachable { detail: "401 Unauthorized" }
        delete: Err(Unreachable { detail: "401 Unauthorized" })"#]],
    );
    check(
        404,
        None,
        &status("NotFound", "namespaces \"runs\" not found"),
        &expect![[r#"
        create: NotAllowed { detail: "namespaces \"runs\" not found" }
        read:   Unreachable { detail: "404 namespaces \"runs\" not found" }
        delete: Ok(())"#]],
    );
}

#[test]
fn who_is_asked_to_come_back_does() {
    check(
        429,
        Some("7"),
        "Too many requests, please try again later.",
        &expect![[r"
        create: RateLimited { retry_after_ms: 7000 }
        read:   RateLimited { retry_after_ms: 7000 }
        delete: Err(RateLimited { retry_after_ms: 7000 })"]],
    );
    let body = r#"{"kind":"Status","code":429,"details":{"retryAfterSeconds":3}}"#;
    check(
        429,
        None,
        body,
        &expect![[r"
        create: RateLimited { retry_after_ms: 3000 }
        read:   RateLimited { retry_after_ms: 3000 }
        delete: Err(RateLimited { retry_after_ms: 3000 })"]],
    );
    check(
        429,
        None,
        "",
        &expect![[r"
        create: RateLimited { retry_after_ms: 1000 }
        read:   RateLimited { retry_after_ms: 1000 }
        delete: Err(RateLimited { retry_after_ms: 1000 })"]],
    );
}

#[test]
fn what_may_have_been_done_is_unanswered() {
    check(
        500,
        None,
        &status("InternalError", "failed calling webhook: context deadline exceeded"),
        &expect![[r#"
            create: Unreachable { detail: "500 failed calling webhook: context deadline exceeded" }
            read:   Unreachable { detail: "500 failed calling webhook: context deadline exceeded" }
            delete: Err(Unreachable { detail: "500 failed calling webhook: context deadline exceeded" })"#]],
    );
    check(
        504,
        None,
        &status("Timeout", "request did not complete within the allotted timeout"),
        &expect![[r#"
            create: Unreachable { detail: "504 request did not complete within the allotted timeout" }
            read:   Unreachable { detail: "504 request did not complete within the allotted timeout" }
            delete: Err(Unreachable { detail: "504 request did not complete within the allotted timeout" })"#]],
    );
    check(
        502,
        None,
        "<html>Bad\n\tGateway</html>",
        &expect![[r#"
        create: Unreachable { detail: "502 <html>Bad  Gateway</html>" }
        read:   Unreachable { detail: "502 <html>Bad  Gateway</html>" }
        delete: Err(Unreachable { detail: "502 <html>Bad  Gateway</html>" })"#]],
    );
    let message = "Operation cannot be fulfilled on resourcequotas \"runs\": the object has been modified";
    check(
        409,
        None,
        &status("Conflict", message),
        &expect![[r#"
        create: Unreachable { detail: "409 Operation cannot be fulfilled on resourcequotas \"runs\": the object has been modified" }
        read:   Unreachable { detail: "409 Operation cannot be fulfilled on resourcequotas \"runs\": the object has been modified" }
        delete: Ok(())"#]],
    );
}

#[test]
fn what_is_no_job_is_refused_and_what_is_forgotten_is_gone() {
    let message = "Job.batch \"a\" is invalid: spec.template.spec.containers[0].image: Required value";
    check(
        422,
        None,
        &status("Invalid", message),
        &expect![[r#"
        create: Refused { detail: "Job.batch \"a\" is invalid: spec.template.spec.containers[0].image: Required value" }
        read:   Unreachable { detail: "422 Job.batch \"a\" is invalid: spec.template.spec.containers[0].image: Required value" }
        delete: Err(Unreachable { detail: "422 Job.batch \"a\" is invalid: spec.template.spec.containers[0].image: Required value" })"#]],
    );
    check(
        410,
        None,
        &status("Expired", "The provided continue parameter is too old"),
        &expect![[r#"
        create: Unreachable { detail: "410 The provided continue parameter is too old" }
        read:   Gone
        delete: Err(Unreachable { detail: "410 The provided continue parameter is too old" })"#]],
    );
}

#[test]
fn a_job_that_is_as_its_template_waits_for_another_template() {
    let said = |message: &str, has_presets| {
        let refusal = Refusal::read(422, None, status("Invalid", message).as_bytes());
        of_create(CallError::Said(refusal), has_presets).to_string()
    };
    let policy = "jobs.batch \"a\" is forbidden: ValidatingAdmissionPolicy 'images' denied request: not ours";
    let text = [said("no image", false), said("no image", true), said(policy, false)];
    expect![[r#"
        no usable task template: no image
        refused: no image
        refused: jobs.batch "a" is forbidden: ValidatingAdmissionPolicy 'images' denied request: not ours"#]]
    .assert_eq(&text.join("\n"));
}

#[test]
fn a_refusal_is_told_in_one_line_of_bounded_length() {
    let refusal = Refusal::read(422, None, status("Invalid", &"é\n".repeat(2_000)).as_bytes());
    assert_eq!(refusal.detail().chars().count(), DETAIL_CHARS_MAX + 1);
    assert!(!refusal.detail().contains('\n'));
}
