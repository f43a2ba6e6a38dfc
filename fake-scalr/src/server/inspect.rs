//! `GET /fake/inspect`: everything the server knows, for tests. The shape is that of the state machine and
//! promises nothing.

use axum::{extract::State, http::StatusCode};
use scalr_protocol::error::{ApiError, ErrorCode};

use super::{
    Server,
    answer::{Answer, Bearer, document},
};

pub(super) async fn inspect(State(server): State<Server>, Bearer(bearer): Bearer) -> Answer {
    let state = server
        .read_as(&bearer, |state| serde_json::to_value(state))?
        .map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))?;
    Ok(document(StatusCode::OK, &state))
}
