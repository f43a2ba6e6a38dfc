//! Faults by switch, at run time and from a seed: what a network and a busy server do to an agent.
//!
//! A fault never touches the state: it changes what is heard of it. Faults are not journaled, and a restart
//! forgets them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use scalr_protocol::error::{ApiError, ErrorCode};
use serde::{Deserialize, Serialize};

use super::{
    Server,
    answer::{Answer, Bearer, Plain, Refused, document, nothing},
    connection::Switch,
    routes,
};

/// How many faults may be set at once: a test sets a few.
const FAULTS_MAX: usize = 1_000;
/// How long a cut or a latency waits where it says nothing.
const LATENCY_MS: u64 = 100;

/// One fault: which calls, what happens to them, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Fault {
    /// The name of a route, such as `finish`; `*` is every route of the agent protocol.
    pub(super) route: String,
    /// What happens.
    pub(super) kind: FaultKind,
    /// How many calls it happens to; `null` is all of them until the faults are cleared.
    #[serde(default = "Fault::once")]
    pub(super) times: Option<u32>,
    /// How many calls are let through first.
    #[serde(default)]
    pub(super) skip: u32,
    /// How probable it is for each call, of 1000.
    #[serde(default = "Fault::always")]
    pub(super) permille: u32,
    /// How long the call waits first. A cut waits this long while the call is going on.
    #[serde(default)]
    pub(super) latency_ms: Option<u64>,
    /// What `refuse` says; the status goes with it.
    #[serde(default)]
    pub(super) code: Option<ErrorCode>,
    /// What `refuse` says of when to come back, in seconds.
    #[serde(default)]
    pub(super) retry_after_s: Option<u32>,
}

impl Fault {
    #[expect(clippy::unnecessary_wraps, reason = "serde wants the field's own type")]
    fn once() -> Option<u32> {
        Some(1)
    }

    fn always() -> u32 {
        1_000
    }
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FaultKind {
    /// The call is late.
    Latency,
    /// The call is refused without effect.
    Refuse,
    /// The connection breaks before the call has an effect.
    LostBefore,
    /// The call has its effect, and the connection breaks before the answer.
    LostAfter,
    /// The connection breaks while the call waits.
    Cut,
}

/// The faults that are set, and their dice.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Set>);

#[derive(Debug, Default)]
struct Set {
    seed: u64,
    faults: Vec<Fault>,
}

impl Faults {
    fn set(&self) -> MutexGuard<'_, Set> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    /// The first fault that fits and whose dice fall so; it is used up by this call.
    fn drawn(&mut self, route: &routes::Route) -> Option<Fault> {
        let mut seed = self.seed;
        let mut fits = |fault: &mut Fault| {
            let named = fault.route == route.name || (fault.route == "*" && route.is_agents());
            if !named || fault.times == Some(0) {
                return false;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return false;
            }
            fault.permille >= 1_000 || dice(&mut seed) % 1_000 < u64::from(fault.permille)
        };
        let drawn = self.faults.iter_mut().find_map(|fault| {
            if !fits(fault) {
                return None;
            }
            fault.times = fault.times.map(|times| times - 1);
            Some(fault.clone())
        });
        self.seed = seed;
        drawn
    }
}

/// One step of splitmix64: small, good enough, and the same for ever.
fn dice(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The layer round every route; it is told the path as the table has it.
pub(super) async fn layer(
    State((server, path)): State<(Server, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let route = routes::of(request.method(), path);
    let Some(fault) = route.and_then(|route| server.inner.faults.set().drawn(route)) else {
        return next.run(request).await;
    };
    tracing::debug!(?fault, "a fault strikes");
    let switch = request.extensions().get::<ConnectInfo<Switch>>().map(|ConnectInfo(switch)| switch.clone());
    let latency = fault.latency_ms.map(Duration::from_millis);
    match fault.kind {
        FaultKind::Latency => {
            tokio::time::sleep(latency.unwrap_or(Duration::from_millis(LATENCY_MS))).await;
            next.run(request).await
        }
        FaultKind::Refuse => {
            tokio::time::sleep(latency.unwrap_or_default()).await;
            refused(&fault)
        }
        FaultKind::LostBefore => {
            tokio::time::sleep(latency.unwrap_or_default()).await;
            lost(switch)
        }
        FaultKind::LostAfter => {
            tokio::time::sleep(latency.unwrap_or_default()).await;
            drop(next.run(request).await);
            lost(switch)
        }
        FaultKind::Cut => {
            let after = latency.unwrap_or(Duration::from_millis(LATENCY_MS));
            match tokio::time::timeout(after, next.run(request)).await {
                // It did not wait: there was nothing to cut.
                Ok(response) => response,
                Err(_) => lost(switch),
            }
        }
    }
}

fn refused(fault: &Fault) -> Response {
    let code = fault.code.unwrap_or(ErrorCode::Unavailable);
    let mut response = Refused::new(code, "a fault was set").into_response();
    if let Some(seconds) = fault.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Breaks the connection. Without a socket, as in a test of the router, 502 stands for that.
fn lost(switch: Option<Switch>) -> Response {
    if let Some(switch) = switch {
        switch.cut();
    }
    StatusCode::BAD_GATEWAY.into_response()
}

/// What a request for faults may say.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a fault {\"route\", \"kind\", …} or {\"seed\", \"faults\": […]}")]
pub(super) enum Wanted {
    Several(Several),
    One(Fault),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Several {
    seed: Option<u64>,
    faults: Vec<Fault>,
}

fn check(fault: &Fault) -> Result<(), ApiError> {
    let known = || routes::ROUTES.iter().map(|route| route.name);
    if fault.route == "*" || known().any(|name| name == fault.route) {
        return Ok(());
    }
    let names = known().collect::<Vec<_>>().join(", ");
    let detail = format!("`{}` is no route: expected `*` or one of {names}", fault.route);
    Err(ApiError::new(ErrorCode::Invalid, detail).at("/route"))
}

pub(super) async fn add(
    State(server): State<Server>,
    Bearer(bearer): Bearer,
    Plain(wanted): Plain<Wanted>,
) -> Answer {
    server.read_as(&bearer, |_| ())?;
    let (seed, faults) = match wanted {
        Wanted::One(fault) => (None, vec![fault]),
        Wanted::Several(Several { seed, faults }) => (seed, faults),
    };
    faults.iter().try_for_each(check)?;
    let mut set = server.inner.faults.set();
    set.faults.retain(|fault| fault.times != Some(0));
    if set.faults.len() + faults.len() > FAULTS_MAX {
        return Err(Refused::new(ErrorCode::TooLarge, format!("at most {FAULTS_MAX} faults can be set")));
    }
    set.seed = seed.unwrap_or(set.seed);
    set.faults.extend(faults);
    Ok(document(StatusCode::OK, &set.faults))
}

pub(super) async fn list(State(server): State<Server>, Bearer(bearer): Bearer) -> Answer {
    server.read_as(&bearer, |_| ())?;
    Ok(document(StatusCode::OK, &server.inner.faults.set().faults))
}

pub(super) async fn clear(State(server): State<Server>, Bearer(bearer): Bearer) -> Answer {
    server.read_as(&bearer, |_| ())?;
    server.inner.faults.set().faults.clear();
    Ok(nothing(StatusCode::NO_CONTENT))
}
